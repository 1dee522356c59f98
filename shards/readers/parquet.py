"""Parquet with the images inside, as Hugging Face publishes them (Simpsons: `image: {bytes, path}`, `text`).

Needs pyarrow: `pip install 'sclip-plugin[parquet]'`.
"""

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import Description, Options, Record, split_name
from sclip_plugin.shards.readers.columnar import BATCH, RowFile, arrow_errors, pyarrow, rows
from sclip_plugin.shards.readers.columns import ROLES
from sclip_plugin.shards.readers.parts import Parted
from sclip_plugin.shards.sample import Sample, Tally
from sclip_plugin.storage import places

if TYPE_CHECKING:
    from pyarrow import RecordBatch

_SPLIT = re.compile(r"^(train|validation|valid|val|test)\b")


class ParquetReader(Parted):
    """Reads a parquet file, or the files in a folder or in its `data/`; `train-….parquet` names a split."""

    takes: ClassVar[frozenset[str]] = frozenset(ROLES)

    def __init__(self, source: str, options: Options) -> None:
        self.source, self.files, self.options = source, _files(source), options
        if not self.files:
            raise DataError(f"--from parquet: no .parquet file in {source}")
        pyarrow(source)
        self.tally = Tally()

    @classmethod
    def recognises(cls, source: str) -> bool:
        """True for a parquet file, and for a folder of them."""
        return bool(_files(source))

    def samples(self) -> Iterator[Sample]:
        """The rows of each file, in order. File names tell splits only where there are several."""
        if (
            places.is_dir(self.source)
            and (unread := _listed(os.path.join(self.source, "data")))
            and unread != self.files
        ):
            self.tally.notes["not read: data/, since there are .parquet files beside it"] += len(unread)
        several = len({split for split in map(_split, self.files) if split}) > 1
        given, captions = self.options.columns, self.options.captions
        parts = []
        for number, path in enumerate(self.files):
            name, split = os.path.basename(path).removesuffix(".parquet"), _split(path) if several else None
            spool = self.options.spool / f"parquet-{number}"
            parts.append(RowFile(self.source, path, name, _batches, split, given, captions, spool))
        yield from self.read(parts, self.tally)

    def describe(self) -> Description:
        """The folder's name, and the hash of each file."""
        hashes = dict(zip(map(os.path.basename, self.files), self.hashes(self.files)))
        return {"format": "parquet", "name": os.path.basename(os.path.dirname(self.files[0])), "sha256": hashes}


def parquet_records(path: str) -> Iterator[tuple[str, Record]]:
    """(place, {column: value}) of each row.

    Raises:
        UsageError: pyarrow is not installed.
        DataError: the file is damaged.
    """
    pyarrow(path)
    number = 0
    with arrow_errors(path):
        for batch in _batches(path):
            for row in rows(batch, batch.schema.names):
                number += 1
                yield f"{path}: row {number}", row


def _batches(path: str) -> Iterator["RecordBatch"]:
    import pyarrow.parquet

    with places.opened(path) as opened, pyarrow.parquet.ParquetFile(opened) as file:
        yield from file.iter_batches(batch_size=BATCH)


def _files(source: str) -> list[str]:
    if places.is_file(source):
        return [source] if source.lower().endswith(".parquet") else []
    folders = (source, os.path.join(source, "data"))
    return next((found for folder in folders if (found := _listed(folder))), [])


def _listed(folder: str) -> list[str]:
    return places.listed(folder, "*.parquet")


def _split(path: str) -> str | None:
    """The split that a file's name begins with."""
    found = _SPLIT.match(os.path.basename(path))
    return split_name(found.group()) if found else None
