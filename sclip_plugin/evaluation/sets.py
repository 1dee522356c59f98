"""Evaluation sets on disk, in CLIP_benchmark's webdataset layout.

SET/dataset_type.txt                         `retrieval`, or absent or anything else for classification
SET/classnames.txt                           classification: one class a line
SET/zeroshot_classification_templates.txt    classification: one template a line, `{c}` stands for the class
SET/test/nshards.txt, 0.tar, 1.tar, …        KEY.jpg|png|webp with KEY.cls (a class number) or KEY.txt (one caption
                                             a line)
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch.utils.data import IterableDataset, get_worker_info

from sclip_plugin.data.samples import IMAGE_SUFFIXES, read_samples
from sclip_plugin.decoding import ImageFault, decode_rgb
from sclip_plugin.errors import DataError

RETRIEVAL, CLASSIFICATION = "retrieval", "classification"


@dataclass(frozen=True)
class EvaluationSet:
    """Where a set's shards are and what it asks. classes and templates: empty for retrieval."""

    folder: Path
    kind: str
    shards: tuple[Path, ...]
    classes: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()


def open_set(folder: str | Path, kind: str, split: str = "test") -> EvaluationSet:
    """Look at a set's files without reading its shards.

    Args:
        folder: the set.
        kind: `RETRIEVAL` or `CLASSIFICATION`, what the caller wants to do with it.
        split: the subfolder that holds the shards.

    Raises:
        DataError: a missing or empty file, a missing shard, or a set of the other kind.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"evaluation set {folder}: no such folder")
    found = RETRIEVAL if _read(folder / "dataset_type.txt", missing="") == RETRIEVAL else CLASSIFICATION
    if found != kind:
        raise DataError(f"evaluation set {folder}: dataset_type.txt makes it a {found} set, not one for {kind}")
    shards = _shards(folder / split)
    if kind == RETRIEVAL:
        return EvaluationSet(folder, kind, shards)
    classes = _lines(folder / "classnames.txt")
    templates = _lines(folder / "zeroshot_classification_templates.txt")
    for template in templates:
        if "{c}" not in template:
            raise DataError(f"{folder / 'zeroshot_classification_templates.txt'}: no {{c}} in {template!r}")
    return EvaluationSet(folder, kind, shards, classes, templates)


def _read(path: Path, missing: str | None = None) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except FileNotFoundError:
        if missing is not None:
            return missing
        raise DataError(f"evaluation set {path.parent}: {path.name} is missing") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text") from None


def _lines(path: Path) -> tuple[str, ...]:
    lines = tuple(line.strip() for line in _read(path).splitlines() if line.strip())
    if not lines:
        raise DataError(f"{path}: empty")
    return lines


def _shards(folder: Path) -> tuple[Path, ...]:
    text = _read(folder / "nshards.txt")
    if not text.isdecimal() or int(text) < 1:
        raise DataError(f"{folder / 'nshards.txt'}: expected a number of shards, got {text!r}")
    shards = tuple(folder / f"{number}.tar" for number in range(int(text)))
    for shard in shards:
        if not shard.is_file():
            raise DataError(f"{shard}: missing, nshards.txt counts {text}")
    return shards


class Samples(IterableDataset):
    """(pixels, answer) for each sample of a set; (None, reason) for each that is skipped.

    The answer is a tuple of captions or a class number. Workers divide the shards.
    """

    def __init__(self, found: EvaluationSet, preprocess):
        self.set, self.preprocess = found, preprocess

    def __iter__(self) -> Iterator[tuple]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for shard in self.set.shards[first::step]:
            faults: Counter = Counter()
            for _, members in read_samples(str(shard), 0, None, faults):
                yield self._sample(shard, members)
            for reason, count in faults.items():
                yield from [(None, reason)] * count

    def _sample(self, shard: Path, members: dict[str, bytes]) -> tuple:
        data = next((members[suffix] for suffix in IMAGE_SUFFIXES if suffix in members), None)
        if data is None:
            return None, "no image"
        answer = self._captions(members) if self.set.kind == RETRIEVAL else self._label(shard, members)
        if answer is None or answer == ():
            return None, "no caption" if self.set.kind == RETRIEVAL else "no class"
        try:
            return self.preprocess(decode_rgb(data)), answer
        except ImageFault as fault:
            return None, str(fault)

    @staticmethod
    def _captions(members: dict[str, bytes]) -> tuple[str, ...]:
        text = members.get("txt", b"").decode("utf-8", errors="replace")
        return tuple(line.strip() for line in text.split("\n") if line.strip())

    def _label(self, shard: Path, members: dict[str, bytes]) -> int | None:
        if "cls" not in members:
            return None
        text = members["cls"].decode("utf-8", errors="replace").strip()
        if not text.isdecimal() or int(text) >= len(self.set.classes):
            raise DataError(f"{shard}: class {text!r} is not one of the {len(self.set.classes)} in classnames.txt")
        return int(text)
