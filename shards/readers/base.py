"""What every reader gives: samples, and a tally of what it read and left out."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True, frozen=True)
class FileImage:
    """An image that is a file of its own. A reader of archives gives another class with the same three names."""

    path: str

    @property
    def size(self) -> int:
        """Bytes."""
        return os.path.getsize(self.path)

    def open(self):
        """A binary file object; whoever opens it closes it."""
        return open(self.path, "rb")

    def read(self) -> bytes:
        with self.open() as file:
            return file.read()


@dataclass(slots=True)
class Sample:
    """One image and what is known about it.

    source: name within the data set, unique, `/`-separated. captions: distinct, in the source's order; empty for an
    image without text. label: class name. group: samples of one group never straddle a split. split: the source's
    own ("train", "val", "test"), None where it has none. The last three are filled by the conversion: the key in the
    shards, the suffix of the image member, and why the image must be re-encoded ("" = copied).
    """

    source: str
    image: FileImage
    captions: list[str] = field(default_factory=list)
    label: str | None = None
    group: str | None = None
    split: str | None = None
    key: str = ""
    suffix: str = ""
    recode: str = ""


@dataclass
class Tally:
    """Counts of images and captions: read = written + the sum of skipped."""

    images: int = 0
    captions: int = 0
    skipped_images: Counter = field(default_factory=Counter)
    skipped_captions: Counter = field(default_factory=Counter)
    notes: Counter = field(default_factory=Counter)  # things the user should see that leave nothing out


class Reader(Protocol):
    """One source format. `tally` is complete once `samples()` is exhausted."""

    tally: Tally

    def samples(self) -> Iterator[Sample]: ...

    def describe(self) -> dict:
        """The source in the manifest: names and hashes, no absolute path."""
        ...


def clean_caption(text: str | None) -> str:
    """`text` on one line, without space at the ends: captions are separated by line ends in retrieval shards."""
    return " ".join((text or "").replace("\0", " ").split())
