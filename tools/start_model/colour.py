"""Make the emoji bench's start model: the demo's, trained on with coloured pictures of things that are no emoji.

    python -m tools.benches.emoji --out build/emoji
    python -m tools.start_model.colour --bench build/emoji --out build/emoji-start --minutes 25

The pictures are icons of openly licensed sets (`@iconify/json`) whose names share a word with the names or tags of the
bench's concepts. No emoji set is among them. Icons in one colour are drawn anew at each step, in a random colour on
pale paper. Writes a folder for `--model local-dir:DIR` with `NOTICE.txt`, and prints how good the model's neighbours
are: the share of training images whose nearest image among a tenth of them has the same class, or the same concept. The
loss is CLIP's, on one CPU thread; weights are stored in fp16.

Legend: N pictures, V tokens in use.
"""

import argparse
import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from PIL import Image
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from sclip_plugin.commands.demo import embedded
from tools import npm
from tools.raster import draw, iconify_svg
from tools.start_model import iconsets
from tools.start_model.fitting import fit
from tools.start_model.pretrain import SIZE, full_state, tokenize

COLOURED = (
    *("streamline-ultimate-color", "streamline-plump-color", "streamline-freehand-color", "streamline-kameleon-color"),
    *("streamline-stickies-color", "streamline-color", "streamline-flex-color", "streamline-sharp-color"),
    *("streamline-cyber-color", "fluent-color", "icon-park", "marketeq", "flat-color-icons", "flat-ui", "meteocons"),
)
EMOJI = ("fluent-emoji-high-contrast", "emojione-monotone")  # among the demo's sets: emoji in one colour


def words(text: str) -> set[str]:
    """The words of a name, without a plural's ending."""
    return {word.rstrip("s") for word in re.findall(r"[a-z]{3,}", text.lower())}


def bench_words(bench: Path) -> set[str]:
    """The words of a bench's captions."""
    with open(bench / "captions.csv", encoding="utf-8", newline="") as file:
        return set().union(*(words(row["caption"]) for row in csv.DictReader(file)))


def icons(package: Path, wanted: set[str]) -> Iterator[tuple[str, str]]:
    """(SVG text, caption) of the icons whose name has one of the wanted words; near-copies of one set once."""
    for prefix in (*COLOURED, *(name for name in iconsets.SETS if name not in EMOJI)):
        document = json.loads((package / "json" / f"{prefix}.json").read_text())
        seen = set()
        for name, icon in document["icons"].items():
            caption = iconsets.caption_of(name)
            if caption and caption not in seen and not icon.get("hidden") and words(caption) & wanted:
                seen.add(caption)
                yield iconify_svg(document, icon, SIZE), caption


def load(package: Path, bench: Path, cache: Path) -> tuple[np.ndarray, list[str]]:
    """Pictures, uint8 (N, 64, 64, 3), and their captions; kept in `cache` for the next call."""
    if not cache.exists():
        pictures, captions = [], []
        for svg, caption in tqdm(list(icons(package, bench_words(bench))), desc="draw", unit="icon", disable=None):
            picture = draw(svg)
            if picture is not None and picture.size == (SIZE, SIZE):
                pictures.append(np.asarray(picture))
                captions.append(caption)
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez(cache, pictures=np.stack(pictures), captions=np.array(captions))
    stored = np.load(cache)
    return stored["pictures"], stored["captions"].tolist()


def coloured(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Pictures in 0 … 1, (B, 3, 64, 64), of uint8 (B, 64, 64, 3); grey ones get an ink and a paper colour."""
    image = pictures.permute(0, 3, 1, 2).float() / 255
    grey = (image.amax(dim=1) - image.amin(dim=1)).flatten(1).amax(dim=1) < 0.05
    count = len(image)
    ink = torch.rand(count, 3, 1, 1, generator=generator) * 0.8
    paper = 1 - torch.rand(count, 3, 1, 1, generator=generator) * 0.25
    level = image.mean(dim=1, keepdim=True)
    return torch.where(grey[:, None, None, None], paper * level + ink * (1 - level), image)


def moved(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The pictures scaled by 0.8 to 1.1, shifted by up to 4 pixels, and half of them mirrored."""
    count = len(image)
    scale = 1 / (0.8 + 0.3 * torch.rand(count, generator=generator))
    mirror = 1 - 2 * (torch.rand(count, generator=generator) < 0.5).float()
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale * mirror, scale
    theta[:, :, 2] = (torch.rand(count, 2, generator=generator) - 0.5) * (16 / SIZE)
    grid = F.affine_grid(theta, [count, 1, SIZE, SIZE], align_corners=False)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def start(used: torch.Tensor, folder: Path) -> tuple[CLIP, dict[str, Any]]:
    """The demo's start model with an embedding of the tokens in use, and its configuration."""
    embedded.unpack(embedded.START, folder)
    config = json.loads((folder / "open_clip_config.json").read_text())
    state = load_file(folder / "open_clip_model.safetensors")
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    table = state["token_embedding.weight"][used]
    unknown = table.abs().sum(dim=1) == 0  # tokens that the demo's icons did not need
    table[unknown] = 0.02 * torch.randn(int(unknown.sum()), table.shape[1], generator=torch.Generator().manual_seed(0))
    state["token_embedding.weight"] = table
    model_config = {**config["model_cfg"], "text_cfg": {**config["model_cfg"]["text_cfg"], "vocab_size": len(used)}}
    model = CLIP(**model_config).to(memory_format=torch.channels_last)
    model.load_state_dict(state)
    return model, config


def neighbours(folder: Path, bench: Path, share: float = 0.1) -> dict[str, float]:
    """How often the nearest of a share of the training images has the same class, and the same concept.

    Args:
        folder: a model for `local-dir:`.
        bench: a bench with captions.csv.
        share: of the training images that stand for the pairs.
    """
    from sclip_plugin.evaluation.features import Encoder
    from sclip_plugin.evaluation.models import load_model

    model, preprocess, tokenizer = load_model(f"local-dir:{folder}", None, "cpu", "fp32")
    with open(bench / "captions.csv", encoding="utf-8", newline="") as file:
        rows = {row["filepath"]: row for row in csv.DictReader(file) if row["split"] == "train"}
    encoder = Encoder(model, tokenizer)
    paths = sorted(rows)
    features = torch.cat(
        [
            encoder.images(torch.stack([preprocess(Image.open(bench / path)) for path in paths[i : i + 256]]))
            for i in range(0, len(paths), 256)
        ]
    )
    chosen = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0))[: round(share * len(paths))]
    others = torch.tensor(sorted(set(range(len(paths))) - set(chosen.tolist())))
    nearest = chosen[(features[others] @ features[chosen].T).argmax(dim=1)]
    pairs = list(zip(others.tolist(), nearest.tolist()))
    return {
        what: sum(rows[paths[one]][what] == rows[paths[other]][what] for one, other in pairs) / len(pairs)
        for what in ("label", "concept")
    }


def main() -> None:
    """Make the model as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, required=True, metavar="DIR", help="what tools.benches.emoji wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the model")
    parser.add_argument("--packages", type=Path, default=Path("build/npm"), metavar="DIR", help="for packages")
    parser.add_argument("--minutes", type=float, default=25, help="how long to train (default 25)")
    parser.add_argument("--batch", type=int, default=256, help="pictures in a step (default 256)")
    parser.add_argument("--lr", type=float, default=1e-3, help="the highest learning rate (default 1e-3)")
    parser.add_argument("--seed", type=int, default=0, help="of the order and the drawing (default 0)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    package = npm.fetch(iconsets.PACKAGE, args.packages)
    pictures, captions = load(package, args.bench, args.packages / "coloured.npz")
    print(f"{len(pictures)} pictures")
    tokens, _, used = tokenize([[text] for text in captions])
    model, config = start(used, args.packages / "demo-start")
    normal = (config["preprocess_cfg"]["mean"][0], config["preprocess_cfg"]["std"][0])
    stack = torch.from_numpy(pictures)

    def batch_of(chosen: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        return (moved(coloured(stack[chosen], generator), generator) - normal[0]) / normal[1], tokens[chosen]

    fit(model, len(stack), batch_of, minutes=args.minutes, batch=args.batch, lr=args.lr, seed=args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(full_state(model, used), args.out / "open_clip_model.safetensors")
    (args.out / "open_clip_config.json").write_text(json.dumps(config, indent=1))
    collections = json.loads((package / "collections.json").read_text())
    lines = [f"Trained on drawings and names of icon sets of {iconsets.PACKAGE}:"]
    for prefix in (*COLOURED, *(name for name in iconsets.SETS if name not in EMOJI)):
        about = collections[prefix]
        lines.append(f"{prefix}: {about['name']}, by {about['author']['name']} ({about['license']['spdx']})")
    (args.out / "NOTICE.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = neighbours(args.out, args.bench)
    print(f"nearest image has the same class: {found['label']:.1%}, the same concept: {found['concept']:.1%}")


if __name__ == "__main__":
    main()
