"""Names and members on disk (training folders of open_clip; evaluation sets of CLIP_benchmark's webdataset layout)."""

import json
import os
from pathlib import Path

from sclip_plugin.atomic import write_atomic
from sclip_plugin.shards.sample import Sample

PAIRED, UNPAIRED, VAL, CLASSES, TEST = "paired", "unpaired", "val", "classes", "test"
TRAINING = (PAIRED, UNPAIRED, VAL)
MANIFEST, SIZES = "manifest.json", "sizes.json"
DEFAULT_TEMPLATE = "a photo of {c}."
RETRIEVAL, CLASSIFICATION = "retrieval", "zeroshot_classification"


def shard_folder(kind: str) -> str:
    """Where the tars of "paired", "unpaired", "val" or "classes" stand, below the part's root ("" = at the root)."""
    return {PAIRED: PAIRED, UNPAIRED: UNPAIRED, VAL: f"{VAL}/{TEST}"}.get(kind, TEST)


def shard_name(kind: str, number: int) -> str:
    """`000000.tar` for training, `0.tar` for evaluation."""
    return f"{number:06d}.tar" if kind in (PAIRED, UNPAIRED) else f"{number}.tar"


def pattern(folder: str, shards: int) -> str:
    """The brace pattern of a training folder's shards."""
    if shards == 1:
        return os.path.join(folder, shard_name(PAIRED, 0))
    return os.path.join(folder, f"{{000000..{shards - 1:06d}}}.tar")


def members(sample: Sample, kind: str, classes: dict[str, int]) -> list[tuple[str, bytes]]:
    """(suffix, bytes) of what stands beside the image.

    paired: one caption in .txt, so that stock open_clip trains on it; all of them in .json. unpaired: no caption.
    val: all captions in .txt, one a line. classes: the class index in .cls.
    """
    about = {name: value for name in ("source", "label", "group") if (value := getattr(sample, name)) is not None}
    if kind in (PAIRED, VAL):
        about = {"captions": sample.captions, **about}
    text = {PAIRED: sample.captions[:1], VAL: sample.captions}.get(kind)
    found = [("txt", "\n".join(text).encode())] if text else []
    if kind not in (PAIRED, UNPAIRED, VAL):
        found.append(("cls", str(classes[sample.label]).encode()))
    return [*found, ("json", json.dumps(about, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace"))]


def write_json(path: Path, content: dict) -> None:
    write_atomic(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_benchmark_files(root: Path, kind: str, shards: int, classes: list[str], templates: list[str]) -> None:
    """The text files that make `root` a data set of CLIP_benchmark's command (`wds/NAME`)."""
    write_atomic(root / "classnames.txt", "".join(f"{name}\n" for name in classes))
    write_atomic(root / "zeroshot_classification_templates.txt", "".join(f"{line}\n" for line in templates))
    write_atomic(root / "dataset_type.txt", f"{kind}\n")
    write_atomic(root / TEST / "nshards.txt", f"{shards}\n")
