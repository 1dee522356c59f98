"""What every reader of a source format offers, and how names of splits and captions are read from a record."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from sclip_plugin.shards.sample import Sample, Tally


@dataclass(frozen=True)
class Options:
    """What the user, or a recipe, says about a source.

    images: folder of the images. columns: {role of `columns.ROLES`: name given}. captions: whether the source must
    have captions. spool: folder for images that cannot be read where they are, made when needed.
    """

    images: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    captions: bool = True
    spool: Path = Path()


class Reader(Protocol):
    """One source format. `tally` is complete once `samples()` is exhausted.

    takes: the options that mean something here: "images", and roles of columns.
    """

    takes: ClassVar[frozenset[str]]
    tally: Tally

    def __init__(self, source: str, options: Options): ...

    @classmethod
    def recognises(cls, source: str) -> bool:
        """Whether `source` is unmistakably of this format."""
        ...

    def samples(self) -> Iterator[Sample]: ...

    def describe(self) -> dict:
        """The source in the manifest: names and hashes, no absolute path."""
        ...


SPLITS = {"validation": "val", "valid": "val", "dev": "val", "restval": "train", "training": "train", "testing": "test"}


def split_name(name: str | None) -> str | None:
    """A source's split under the usual name: train, val, test or its own; None where there is none."""
    plain = (name or "").strip().lower()
    return SPLITS.get(plain, plain) or None


def as_captions(value) -> list[str]:
    """A caption field: one text, a list of texts, or nothing."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):  # {"raw": …}, as in sentences of Karpathy's format
        return as_captions(value.get("raw", value.get("text")))
    if isinstance(value, Iterable):
        return [text for one in value for text in as_captions(one)]
    return [str(value)]


def clean_caption(text: str | None) -> str:
    """`text` on one line, without space at the ends: captions are separated by line ends in retrieval shards."""
    return " ".join((text or "").replace("\0", " ").split()).encode("utf-8", "replace").decode()
