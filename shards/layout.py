"""Names and members on disk: training folders of open_clip, evaluation sets of CLIP_benchmark's webdataset layout."""

import json
import os
from collections.abc import Iterable, Mapping
from typing import Final

from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.names import DATASET_TYPES
from sclip_plugin.shards.sample import Sample
from sclip_plugin.storage.location import Location
from sclip_plugin.storage.outputs import write

PAIRED: Final = "paired"
UNPAIRED: Final = "unpaired"
VAL: Final = "val"
CLASSES: Final = "classes"
TEST: Final = "test"  # CLIP_benchmark's folder for the shards of a set
TRAINING: Final = (PAIRED, UNPAIRED, VAL)
MANIFEST: Final = "manifest.json"
SIZES: Final = "sizes.json"  # open_clip's
TEMPLATES: Final = "zeroshot_classification_templates.txt"  # CLIP_benchmark's
CLASS_NAMES: Final = "classnames.txt"  # CLIP_benchmark's
DATASET_TYPE: Final = "dataset_type.txt"  # CLIP_benchmark's
SHARD_COUNT: Final = "nshards.txt"  # CLIP_benchmark's
CARD: Final = "README.md"  # the dataset card, which Hugging Face's libraries read
#: what a card of ours holds; a README.md without it is the user's own
CARD_MARK: Final = "<!-- sclip writes this file again with the shards. To keep a text of yours, remove this line. -->"
#: what stands beside the shards
FILES: Final = (MANIFEST, SIZES, TEMPLATES, CLASS_NAMES, DATASET_TYPE, SHARD_COUNT, CARD)
DEFAULT_TEMPLATE: Final = "a photo of {c}."

_json: Final = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True
).encode  # made once: it takes half as long as json.dumps


def shard_folder(kind: str) -> str:
    """Where the tars of "paired", "unpaired", "val" or "classes" stand, below the root of their set."""
    return {PAIRED: PAIRED, UNPAIRED: UNPAIRED, VAL: f"{VAL}/{TEST}"}.get(kind, TEST)


def shard_name(kind: str, number: int) -> str:
    """`000000.tar` for training, `0.tar` for evaluation."""
    return f"{number:06d}.tar" if kind in (PAIRED, UNPAIRED) else f"{number}.tar"


def pattern(folder: str, shards: int) -> str:
    """The brace pattern of a training folder's shards."""
    if shards == 1:
        return os.path.join(folder, shard_name(PAIRED, 0))
    return os.path.join(folder, f"{{000000..{shards - 1:06d}}}.tar")


def members(sample: Sample, kind: str, classes: Mapping[str, int]) -> list[tuple[str, bytes]]:
    """(suffix, bytes) of what stands beside the image of a sample.

    A paired sample has one caption in `.txt`, so that stock open_clip trains on it, and all of them in `.json`; an
    unpaired one has no caption. A sample of val has all captions in `.txt`, one a line; one of a classification set
    has the number of its class in `.cls`. A source name that is not UTF-8 stands in the `.json` with JSON's escapes, so
    that it is read back as it was.
    """
    about: dict[str, object] = {"source": sample.source}
    if kind in (PAIRED, VAL):
        about["captions"] = sample.captions
    if sample.label is not None:
        about["label"] = sample.label
    if sample.group is not None:
        about["group"] = sample.group
    text = sample.captions[:1] if kind == PAIRED else sample.captions if kind == VAL else None
    found = [("txt", "\n".join(text).encode())] if text else []
    if kind not in TRAINING:
        assert sample.label is not None  # the split leaves out images without a label
        found.append(("cls", str(classes[sample.label]).encode()))
    return [*found, ("json", _encode(_json(about)))]


def _encode(text: str) -> bytes:
    """JSON text as bytes; a lone surrogate (of a file name that is not UTF-8) becomes JSON's own escape for it."""
    return text.encode("utf-8", "backslashreplace")


def own_readme(root: Location) -> Location | None:
    """The README.md of a set that its user wrote and that no dataset card replaces; None where there is none."""
    path = root / CARD
    return path if path.exists() and CARD_MARK.encode() not in path.read_bytes() else None


def write_json(path: Location, content: Mapping[str, object]) -> None:
    """Write a JSON object so that it appears whole or not at all."""
    write(path, _encode(json.dumps(content, indent=1, ensure_ascii=False) + "\n"))


def write_benchmark_files(
    root: Location, kind: str, shards: int, classes: Iterable[str], templates: Iterable[str]
) -> None:
    """The text files that make `root` a data set of CLIP_benchmark's command (`wds/NAME`).

    Args:
        root: folder of the evaluation set.
        kind: `evaluation.names.RETRIEVAL` or `CLASSIFICATION`.
        shards: number of tars in `root/test`.
        classes: class names, in the order of the numbers in `.cls`.
        templates: prompts with `{c}` for the class name.
    """
    write(root / CLASS_NAMES, "".join(f"{name}\n" for name in classes))
    write(root / TEMPLATES, "".join(f"{line}\n" for line in templates))
    write(root / DATASET_TYPE, f"{DATASET_TYPES[kind]}\n")
    write(root / TEST / SHARD_COUNT, f"{shards}\n")


def val_templates(root: Location) -> tuple[str, ...]:
    """The prompts that the val set of a training set carries; the default one where it carries none.

    Raises:
        DataError: the file is not UTF-8 text.
    """
    path = root / VAL / TEMPLATES
    if not path.is_file():
        return (DEFAULT_TEMPLATE,)
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text") from None
