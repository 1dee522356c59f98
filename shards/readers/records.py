"""Files of records that name an image: JSON Lines, or a JSON array of objects; the frame that tables share.

One record per caption or per image. Images without a record come last.
"""

import json
import os
from collections.abc import Callable, Iterator
from typing import ClassVar

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import Options
from sclip_plugin.shards.readers.columns import ROLES, find_columns
from sclip_plugin.shards.readers.files import ImageFolder, file_hash
from sclip_plugin.shards.readers.jsonfile import first_item, items
from sclip_plugin.shards.readers.named import NamedImages
from sclip_plugin.shards.sample import Sample, Tally

LINES = (".jsonl", ".ndjson")


class RecordReader:
    """Records of `path` joined with the images below `options.images` (default: the file's own folder).

    A subclass names its format and how records are read: `read(path)` gives (place, {field: value}). Image names are
    relative to the images folder or to the file's. A caption field may hold one text or a list. The first record
    decides which fields there are.
    """

    takes = frozenset({"images", *ROLES})
    form: ClassVar[str]
    read: ClassVar[Callable[[str], Iterator[tuple[str, dict]]]]

    def __init__(self, path: str, options: Options):
        if os.path.isdir(path):
            raise DataError(f"--from {self.form}: {path} is a folder")
        self.path, self.options = path, options
        self.tally = Tally()
        beside = os.path.dirname(os.path.abspath(path))
        self.images = NamedImages(ImageFolder(options.images or beside, "--images"), self.tally, beside)

    def samples(self) -> Iterator[Sample]:
        columns = None
        for where, record in type(self).read(self.path):
            if columns is None:
                needed = ("image", "caption") if self.options.captions else ("image",)
                columns = find_columns(record, self.options.columns, self.path, needed)
            yield from self.images.sample({role: record.get(name) for role, name in columns.items()}, where)
        yield from self.images.others()

    def describe(self) -> dict:
        return {"format": self.form, "name": os.path.basename(self.path), "sha256": file_hash(self.path)}


def records(path: str) -> Iterator[tuple[str, dict]]:
    """(place, record) of JSON Lines or of a JSON array.

    Raises:
        DataError: a line that is not a JSON object, naming it.
    """
    if not path.lower().endswith(LINES):
        found = enumerate(items(path, "item"), 1)
    else:
        found = _lines(path)
    for number, record in found:
        where = f"{path}: {'line' if path.lower().endswith(LINES) else 'record'} {number}"
        if not isinstance(record, dict):
            raise DataError(f"{where}: not a JSON object")
        yield where, record


def _lines(path: str) -> Iterator[tuple[int, object]]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.decode("utf-8-sig"))
            except ValueError as error:
                raise DataError(f"{path}: line {number}: not JSON: {error}") from None


class JsonReader(RecordReader):
    """JSON Lines (`.jsonl`, `.ndjson`), or a JSON array of objects."""

    form = "jsonl"
    read = staticmethod(records)

    @classmethod
    def recognises(cls, source: str) -> bool:
        return os.path.isfile(source) and (source.lower().endswith(LINES) or bool(first_item(source, "item")))
