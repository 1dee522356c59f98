"""Files of records that name an image: JSON Lines, or a JSON array of objects; and what tables share with them.

There is one record for each caption or for each image. Images without a record come last.
"""

import os
from collections.abc import Iterator
from typing import ClassVar

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import Description, Options, Record
from sclip_plugin.shards.readers.columns import ROLES
from sclip_plugin.shards.readers.files import file_hash
from sclip_plugin.shards.readers.jsonfile import first_item, objects, parse_object
from sclip_plugin.shards.readers.named import NamedImages, NamedRecords
from sclip_plugin.shards.readers.remote_images import image_folder
from sclip_plugin.shards.sample import Sample, Tally
from sclip_plugin.storage import places

LINES = (".jsonl", ".ndjson")


class RecordReader:
    """Reads the records of a file and joins them with the images below `options.images` (default: the file's folder).

    Image names are relative to the images folder or to the file's. A caption field may hold one text or a list. The
    first record decides which fields there are. A subclass says what its format is called and how records are read.

    Attributes:
        form: the format's name in `readers.FORMATS`.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"images", *ROLES})
    form: ClassVar[str]

    def __init__(self, source: str, options: Options) -> None:
        if places.is_dir(source):
            raise DataError(f"--from {self.form}: {source} is a folder")
        self.path, self.options = source, options
        self.tally = Tally()
        beside = places.folder_of(source)
        self.images = NamedImages(image_folder(options.images or beside, "--images"), self.tally, beside)

    @staticmethod
    def read(path: str) -> Iterator[tuple[str, Record]]:
        """(place, record) of each record of a file."""
        raise NotImplementedError

    def samples(self) -> Iterator[Sample]:
        """One sample for each record, then the images that none names."""
        yield from NamedRecords(self.images, self.path, self.options).samples(self.read(self.path))
        yield from self.images.others([self.path])

    def describe(self) -> Description:
        """The file's name and hash."""
        return {"format": self.form, "name": os.path.basename(self.path), "sha256": file_hash(self.path)}


def records(path: str) -> Iterator[tuple[str, Record]]:
    """(place, record) of JSON Lines or of a JSON array.

    Raises:
        DataError: a line or an entry is not a JSON object; names it.
    """
    return _lines(path) if path.lower().endswith(LINES) else objects(path, "item", "record")


def _lines(path: str) -> Iterator[tuple[str, Record]]:
    with places.opened(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                where = f"{path}: line {number}"
                yield where, parse_object(line, where)


class JsonReader(RecordReader):
    """Reads JSON Lines (`.jsonl`, `.ndjson`), or a JSON array of objects."""

    form = "jsonl"

    @staticmethod
    def read(path: str) -> Iterator[tuple[str, Record]]:
        """(place, record) of each line or entry."""
        return records(path)

    @classmethod
    def recognises(cls, source: str) -> bool:
        """True for a file with one of the suffixes of JSON Lines, and for a JSON array that begins with an object."""
        return places.is_file(source) and (source.lower().endswith(LINES) or bool(first_item(source, "item")))
