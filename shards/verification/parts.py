"""The parts of a data set in a folder: what `sclip convert` wrote, an evaluation set, or any folder of tars."""

from dataclasses import dataclass

from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.names import DATASET_TYPES, RETRIEVAL
from sclip_plugin.shards import layout
from sclip_plugin.storage.location import Location, tars


@dataclass(frozen=True)
class Part:
    """The shards of one kind.

    Attributes:
        name: what people call the part.
        kind: `layout.PAIRED`, `UNPAIRED`, `VAL` or `CLASSES`; "" where it is not known.
        shards: the tars, sorted.
        classes: the class names of a classification set; empty for the other kinds.
    """

    name: str
    kind: str
    shards: tuple[Location, ...]
    classes: tuple[str, ...] = ()

    @property
    def folder(self) -> Location:
        """The folder that holds the shards."""
        return self.shards[0].parent


def find_parts(root: Location) -> list[Part]:
    """The parts of what is at `root`: a training set, an evaluation set, or a folder of tars. None is empty.

    Raises:
        DataError: there is no such folder, or it is none of these.
    """
    if not root.is_dir():
        raise DataError(f"no such folder: {root}")
    folders = {kind: root / layout.shard_folder(kind) for kind in layout.TRAINING}
    parts = [Part(kind, kind, shards) for kind, folder in folders.items() if (shards := _tars(folder))]
    if parts:
        return parts
    if shards := _tars(root / layout.TEST):
        return [_evaluation_set(root, shards)]
    if shards := _tars(root):
        name = root.resolve().name
        return [Part(root.name, name if name in (layout.PAIRED, layout.UNPAIRED) else "", shards)]
    raise DataError(f"{root}: no tars in it, nor in paired/, unpaired/, val/test/ or test/")


def _evaluation_set(root: Location, shards: tuple[Location, ...]) -> Part:
    if read_or_empty(root / "dataset_type.txt").strip() == DATASET_TYPES[RETRIEVAL]:
        return Part(root.name, layout.VAL, shards)
    classes = tuple(read_or_empty(root / "classnames.txt").splitlines())
    return Part(root.name, layout.CLASSES, shards, classes)


def _tars(folder: Location) -> tuple[Location, ...]:
    return tuple(tars(folder))


def read_or_empty(path: Location) -> str:
    """The text of a file; "" where it is missing or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ""
