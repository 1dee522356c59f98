"""What every reader of a source format offers, and how splits and captions are written."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, TypeAlias, TypedDict

from sclip_plugin.shards.sample import Sample, Tally
from sclip_plugin.storage.location import Location

Record: TypeAlias = Mapping[str, object]  # {name of a field: its value}: a row of a table, or a JSON object


class Misfit(dict[str, object]):
    """A row of a table whose cells do not fit the header, so that nobody can tell what is in which column.

    Args:
        names: of the header.
        reason: what is wrong with the row.
    """

    def __init__(self, names: Iterable[str], reason: str) -> None:
        super().__init__(dict.fromkeys(names))
        self.reason = reason


@dataclass(frozen=True)
class Options:
    """What the user, or a recipe, says about a source.

    Attributes:
        images: the folder of the images; None: the reader looks for them.
        columns: {role of `columns.ROLES`: the name of the field that has it}.
        captions: whether the source must have captions.
        spool: a folder for images that cannot be read where they are; it is made when it is needed.
    """

    images: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    captions: bool = True
    spool: Location = Path()


class _Named(TypedDict):
    format: str
    name: str


class Description(_Named, total=False):
    """A source as the manifest describes it: by names and hashes, without any absolute path."""

    sha256: str | dict[str, str]  # of the only file, or by file
    bytes: dict[str, int]  # by file, where hashing takes too long
    plan: object  # digest of the shard plan, of a source that `sclip convert` wrote


class Reader(Protocol):
    """What gives the samples of one source.

    Attributes:
        tally: what was left out; complete once `samples()` is exhausted.
    """

    tally: Tally

    def samples(self) -> Iterator[Sample]:
        """The samples, in the order of the source. A name may come several times, with a caption each time."""
        ...

    def describe(self) -> Description:
        """The source in the manifest."""
        ...


class FormatReader(Reader, Protocol):
    """A reader that `make_reader` chooses by the format of the source.

    The constructor takes the source, and the options where `takes` names any. It raises `DataError` where the source is
    not of this format, and `UsageError` where an option cannot be met.

    Attributes:
        takes: the options that mean something here: "images", and roles of columns.
    """

    takes: ClassVar[frozenset[str]]

    def __init__(self, source: str, options: Options = ...) -> None: ...

    @classmethod
    def recognises(cls, source: str) -> bool:
        """True where `source` is unmistakably of this format."""
        ...


SPLITS = {"validation": "val", "valid": "val", "dev": "val", "restval": "train", "training": "train", "testing": "test"}


def split_name(name: str | None) -> str | None:
    """A source's split under the usual name: train, val, test or its own; None where there is none."""
    plain = (name or "").strip().lower()
    return SPLITS.get(plain, plain) or None


def clean_caption(text: str | None) -> str:
    """`text` on one line, without space at the ends: captions are separated by line ends in retrieval shards."""
    return " ".join((text or "").replace("\0", " ").split()).encode("utf-8", "replace").decode()
