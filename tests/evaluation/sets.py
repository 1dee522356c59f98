"""Hand-made evaluation sets and a tiny model with weights."""

import json
from pathlib import Path

import torch
from PIL import Image

from tests.helpers.models import write_model
from tests.helpers.shards import picture, write_tar

CLASSES = ("tree", "river", "parking lot")
COLOURS = ("red", "green", "blue", "white", "black", "orange")


def retrieval_set(folder: Path, images: int = 7, shards: int = 2) -> Path:
    """Image i has 1 + i % 3 captions."""
    samples = [
        [(f"s{i}.png", picture(i)), (f"s{i}.txt", "\n".join(f"thing {i} said {j}" for j in range(1 + i % 3)).encode())]
        for i in range(images)
    ]
    return _write(folder, samples, shards, {"dataset_type.txt": "retrieval"})


def classification_set(folder: Path, images: int = 8, shards: int = 2, classes=CLASSES) -> Path:
    """Image i is of class i % 2, so that later classes have no image."""
    samples = [[(f"s{i}.png", picture(i)), (f"s{i}.cls", str(i % 2).encode())] for i in range(images)]
    templates = "a photo of {c}.\n{c}\n"
    files = {"classnames.txt": "\n".join(classes), "zeroshot_classification_templates.txt": templates}
    return _write(folder, samples, shards, files)


def region_set(folder, pictures=3, each=3, **changes):
    """Picture p has stripes, each a region; `changes` replace parts of the annotations."""
    (folder / "images").mkdir(parents=True)
    images, notes = [], []
    for number in range(pictures):
        canvas = Image.new("RGB", (30 * each, 40), "grey")
        for place in range(each):
            colour = COLOURS[(number + place) % len(COLOURS)]
            canvas.paste(Image.new("RGB", (20, 30), colour), (30 * place + 5, 5))
            box = [30 * place + 5, 5, 20, 30]
            notes.append({"id": len(notes), "image_id": number, "bbox": box, "caption": f"a {colour} stripe"})
        canvas.save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png"})
    (folder / "annotations.json").write_text(json.dumps({"images": images, "annotations": notes, **changes}))
    return folder


def _write(folder: Path, samples, shards: int, files: dict[str, str]) -> Path:
    for number in range(shards):
        write_tar(
            folder / "test" / f"{number}.tar", [member for sample in samples[number::shards] for member in sample]
        )
    for name, text in {**files, "test/nshards.txt": f"{shards}\n"}.items():
        (folder / name).write_text(text)
    return folder


def model_with_weights(folder: Path, seed: int = 0) -> str:
    """A tiny local-dir model; returns the value for `--model`."""
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    name = write_model(folder)
    torch.manual_seed(seed)
    model = CLIP(**json.loads((folder / "open_clip_config.json").read_text())["model_cfg"])
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return name
