"""Evaluation sets on disk, in CLIP_benchmark's webdataset layout.

SET/dataset_type.txt                         `retrieval`, or absent or anything else for classification
SET/classnames.txt                           classification: one class a line
SET/zeroshot_classification_templates.txt    classification: one template a line, `{c}` stands for the class
SET/test/nshards.txt, 0.tar, 1.tar, …        KEY.jpg|png|webp with KEY.cls (a class number) or KEY.txt (one caption
                                             a line)
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from sclip_plugin.data.samples import Members, Skip, image_bytes, read_samples
from sclip_plugin.decoding import ImageFault, decode_rgb
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.models import Preprocess
from sclip_plugin.evaluation.names import CLASSIFICATION, DATASET_TYPES, RETRIEVAL
from sclip_plugin.storage.location import Location, RemotePath, location
from sclip_plugin.storage.urls import WEB, is_url, scheme

T = TypeVar("T")

MOST_DIGITS = 18  # of a whole number in a file; more fit no 64-bit counter

_KIND_FILE = "dataset_type.txt"
_CLASSES_FILE = "classnames.txt"
_TEMPLATES_FILE = "zeroshot_classification_templates.txt"


@dataclass(frozen=True)
class EvaluationSet:
    """Where a set's shards are, and what it asks.

    Attributes:
        folder: the set.
        kind: `RETRIEVAL` or `CLASSIFICATION`.
        shards: its tars, in order.
        classes: the names of the classes by number; empty for retrieval.
        templates: texts in which `{c}` stands for a class; empty for retrieval.
    """

    folder: Location
    kind: str
    shards: tuple[Location, ...]
    classes: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()


def open_set(folder: str | Location, kind: str, split: str = "test") -> EvaluationSet:
    """Look at a set's files without reading its shards.

    Args:
        folder: the set, by path or URL.
        kind: `RETRIEVAL` or `CLASSIFICATION`, what the caller wants to do with it.
        split: the subfolder that holds the shards.

    Raises:
        DataError: a file is missing or empty, a shard is missing, or the set is of the other kind.
    """
    folder = location(folder) if isinstance(folder, str) else folder
    found = set_kind(folder)
    if found != kind:
        why = f"{_KIND_FILE} makes it" if (folder / _KIND_FILE).is_file() else f"without a {_KIND_FILE} it counts as"
        raise DataError(f"evaluation set {folder}: {why} a {found} set, not one for {kind}")
    shards = _shards(folder / split)
    if kind == RETRIEVAL:
        return EvaluationSet(folder, kind, shards)
    classes = _lines(folder / _CLASSES_FILE)
    templates = _lines(folder / _TEMPLATES_FILE)
    for template in templates:
        if "{c}" not in template:
            raise DataError(f"{folder / _TEMPLATES_FILE}: no {{c}} in {template!r}")
    return EvaluationSet(folder, kind, shards, classes, templates)


def set_kind(folder: str | Location) -> str:
    """What a set asks, `RETRIEVAL` or `CLASSIFICATION`, as its folder says.

    Args:
        folder: the set, by path or URL.

    Raises:
        DataError: there is no such folder.
    """
    folder = location(folder) if isinstance(folder, str) else folder
    if not isinstance(folder, RemotePath) and not folder.is_dir():
        raise DataError(f"evaluation set {folder}: no such folder")
    return RETRIEVAL if _read(folder / _KIND_FILE, missing="") == DATASET_TYPES[RETRIEVAL] else CLASSIFICATION


def is_retrieval_set(path: str | None) -> bool:
    """True for a folder that says what kind of set it is; `--val-data` takes it beside what open_clip takes.

    `open_set` refuses one that says it is of the other kind.
    """
    if path is None or (is_url(path) and not _names_folder(path)):
        return False
    return (location(path) / _KIND_FILE).is_file()


def _names_folder(url: str) -> bool:
    """Whether a URL may be that of a folder: not several, and not that of a tar."""
    return not any(sign in url for sign in ("::", "{", "?")) and not url.endswith(".tar")


def _read(path: Location, missing: str | None = None) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except FileNotFoundError:
        if missing is not None:
            return missing
        raise DataError(f"evaluation set {path.parent}: {path.name} is missing") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def _lines(path: Location) -> tuple[str, ...]:
    """The lines of a file whose lines are numbered, so that nothing may be left open about where one ends.

    Raises:
        DataError: the file is empty, has a blank line between others, or a character that only some programs take for
            the end of a line.
    """
    lines = tuple(line.strip() for line in _read(path).replace("\r\n", "\n").split("\n"))
    if lines == ("",):
        raise DataError(f"{path}: empty")
    for number, line in enumerate(lines, 1):
        if not line:
            raise DataError(f"{path}: line {number} is blank; what follows would be numbered in two ways")
        if len(line.splitlines()) > 1:
            raise DataError(f"{path}: line {number} holds a character that may end a line: {line!r:.100}")
    return lines


def _shards(folder: Location) -> tuple[Location, ...]:
    text = _read(folder / "nshards.txt")
    if not text.isdecimal() or len(text) > MOST_DIGITS or int(text) < 1:
        raise DataError(f"{folder / 'nshards.txt'}: expected a number of shards, got {text!r:.60}")
    shards: list[Location] = []
    there = _tester(folder)
    for number in range(int(text)):  # the first that is missing ends this, however large the number
        shards.append(folder / f"{number}.tar")
        if not there(shards[-1]):
            raise DataError(f"{shards[-1]}: missing, nshards.txt counts {text}")
    return tuple(shards)


def _tester(folder: Location) -> Callable[[Location], bool]:
    """Whether something is in a folder; a store is asked once for all names in it."""
    if not isinstance(folder, RemotePath) or scheme(folder.url) in WEB:
        return lambda one: one.is_file()
    names = {one.name for one in folder.iterdir()}
    return lambda one: one.name in names


class Samples(IterableDataset["tuple[Tensor, T] | str | DataError"], Generic[T]):
    """Gives (pixels, answer) for each sample of a set, and the reason for each that cannot be used.

    Workers divide the shards. What is wrong with the set itself is given as the error, which ends the iteration:
    raised in a worker, it would reach the main process as text around a traceback.

    Args:
        found: the set.
        preprocess: PIL image → (3, H, W).
        answer_of: the right answer to a sample, from the set, the shard and the sample's members. It raises `Skip`
            where the sample has none.
    """

    def __init__(
        self, found: EvaluationSet, preprocess: Preprocess, answer_of: Callable[[EvaluationSet, Location, Members], T]
    ) -> None:
        self.set, self.preprocess, self.answer_of = found, preprocess, answer_of

    def __iter__(self) -> Iterator[tuple[Tensor, T] | str | DataError]:
        try:
            yield from self._samples()
        except DataError as error:
            yield error

    def _samples(self) -> Iterator[tuple[Tensor, T] | str]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for shard in self.set.shards[first::step]:
            faults: Counter[str] = Counter()
            for _, members in read_samples(str(shard), 0, None, faults):
                yield self._sample(shard, members)
            yield from faults.elements()

    def _sample(self, shard: Location, members: Members) -> tuple[Tensor, T] | str:
        try:
            data = image_bytes(members)
            answer = self.answer_of(self.set, shard, members)
            return self.preprocess(decode_rgb(data)), answer
        except (Skip, ImageFault) as reason:
            return str(reason)


def captions_of(found: EvaluationSet, shard: Location, members: Members) -> tuple[str, ...]:
    """The captions of a sample of a retrieval set, at least one.

    Raises:
        Skip: it has none.
    """
    text = members.get("txt", b"").decode("utf-8", errors="replace")
    captions = tuple(line.strip() for line in text.split("\n") if line.strip())
    if not captions:
        raise Skip("no caption")
    return captions


def class_of(found: EvaluationSet, shard: Location, members: Members) -> int:
    """The number of the class of a sample of a classification set.

    Raises:
        Skip: it has none.
        DataError: the set has no class of this number; names the shard.
    """
    if "cls" not in members:
        raise Skip("no class")
    text = members["cls"].decode("utf-8", errors="replace").strip()
    if not text.isdecimal() or len(text) > MOST_DIGITS or int(text) >= len(found.classes):
        raise DataError(f"{shard}: class {text!r:.60} is not one of the {len(found.classes)} in {_CLASSES_FILE}")
    return int(text)
