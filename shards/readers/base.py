"""What every reader gives: samples, and a tally of what it left out. Where the bytes of an image are."""

import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol


class Locator(NamedTuple):
    """Where an image is, as the index stores it. form: a name in `readers.open_image`. offset: -1 for a whole file."""

    form: str
    path: str
    offset: int = -1
    length: int = -1


class Image(Protocol):
    """The bytes of an encoded image."""

    @property
    def locator(self) -> Locator: ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def open(self):
        """A seekable binary file object; whoever opens it closes it."""
        ...

    def read(self) -> bytes: ...


@dataclass(slots=True, frozen=True)
class FileImage:
    """An image that is a file of its own."""

    path: str

    @property
    def locator(self) -> Locator:
        return Locator("file", self.path)

    @property
    def size(self) -> int:
        return os.path.getsize(self.path)

    def open(self):
        return open(self.path, "rb")

    def read(self) -> bytes:
        with self.open() as file:
            return file.read()


@dataclass(slots=True, frozen=True)
class SliceImage:
    """An image that stands in a larger file (a tar, a spool): `length` bytes from `offset` on."""

    path: str
    offset: int
    length: int

    @property
    def locator(self) -> Locator:
        return Locator("slice", self.path, self.offset, self.length)

    @property
    def size(self) -> int:
        return self.length

    def open(self):
        return io.BufferedReader(_Window(self.path, self.offset, self.length))

    def read(self) -> bytes:
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.length)


class _Window(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, path: str, offset: int, length: int):
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by close)
        self._first, self._length, self._at = offset, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer) -> int:
        wanted = max(0, min(len(buffer), self._length - self._at))
        self._file.seek(self._first + self._at)
        found = self._file.readinto(memoryview(buffer)[:wanted]) or 0
        self._at += found
        return found

    def close(self) -> None:
        self._file.close()
        super().close()


@dataclass(slots=True)
class Sample:
    """One image and what a source says about it.

    A source may give an image several times: their captions are joined (see `index.SampleIndex.add`).

    source: name within the data set, `/`-separated. captions: as the source has them; empty for an image without
    text. label: class name. group: samples of one group never straddle a split. split: the source's own ("train",
    "val", "test", …), None where it has none. where: the place in the source, for messages. bare: the source only
    lists the image, and says nothing against what it says elsewhere. The rest is filled by the conversion: key in the
    shards, suffix of the image member, why the image must be re-encoded ("" = copied), size in bytes and fingerprint
    (`images.Verdict`).
    A reader of shards gives key and suffix itself; then the image is not looked at.
    """

    source: str
    image: Image
    captions: list[str] = field(default_factory=list)
    label: str | None = None
    group: str | None = None
    split: str | None = None
    where: str = ""
    bare: bool = False
    key: str = ""
    suffix: str = ""
    recode: str = ""
    size: int = 0
    fingerprint: bytes = b""


@dataclass
class Tally:
    """Counts of images and captions: read = written + the sum of skipped."""

    images: int = 0
    captions: int = 0
    skipped_images: Counter = field(default_factory=Counter)
    skipped_captions: Counter = field(default_factory=Counter)
    notes: Counter = field(default_factory=Counter)  # things the user should see that leave nothing out

    def skip_image(self, reason: str, captions: int = 0) -> None:
        """An image that was read but cannot be used, with its captions."""
        self.images += 1
        self.skipped_images[reason] += 1
        self.skip_captions(f"{reason} (its image)" if captions else "", captions)

    def skip_captions(self, reason: str, number: int = 1) -> None:
        """Captions that were read but belong to no image."""
        if number:
            self.captions += number
            self.skipped_captions[reason] += number


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
