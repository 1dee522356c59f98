"""Parquet with the images inside, as Hugging Face publishes them (Simpsons: `image: {bytes, path}`, `text`).

Needs pyarrow: `pip install 'sclip-plugin[parquet]'`.
"""

import glob
import os
import re
from collections.abc import Iterator

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import Options, split_name
from sclip_plugin.shards.readers.columnar import BATCH, RowSamples, Spool, arrow_errors, pyarrow
from sclip_plugin.shards.readers.columns import ROLES
from sclip_plugin.shards.readers.files import file_hash
from sclip_plugin.shards.sample import Sample, Tally

_SPLIT = re.compile(r"^(train|validation|valid|val|test)\b")


class ParquetReader:
    """`source`: a parquet file, or a folder of them (in it, or in its `data/`); `train-….parquet` names a split."""

    takes = frozenset(ROLES)

    def __init__(self, source: str, options: Options):
        self.files = _files(source)
        if not self.files:
            raise DataError(f"--from parquet: no .parquet file in {source}")
        pyarrow(source)
        self.tally = Tally()
        spool = Spool(options.spool, "parquet")
        self.rows = RowSamples(source, options.columns, options.captions, spool, self.tally)

    @classmethod
    def recognises(cls, source: str) -> bool:
        return bool(_files(source))

    def samples(self) -> Iterator[Sample]:
        several = len({split for split in map(_split, self.files) if split}) > 1
        for path in self.files:
            name = os.path.basename(path).removesuffix(".parquet")
            with arrow_errors(path):
                yield from self.rows.samples(name, _batches(path), _split(path) if several else None)

    def describe(self) -> dict:
        hashes = {os.path.basename(path): file_hash(path) for path in self.files}
        return {"format": "parquet", "name": os.path.basename(os.path.dirname(self.files[0])), "sha256": hashes}


def parquet_records(path: str) -> Iterator[tuple[str, dict]]:
    """(place, {column: value}) of each row."""
    pyarrow(path)
    number = 0
    with arrow_errors(path):
        for batch in _batches(path):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}: row {number}", row


def _batches(path: str) -> Iterator:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=BATCH)


def _files(source: str) -> list[str]:
    if os.path.isfile(source):
        return [source] if source.lower().endswith(".parquet") else []
    folders = (source, os.path.join(source, "data"))
    return next((found for folder in folders if (found := _listed(folder))), [])


def _listed(folder: str) -> list[str]:
    return sorted(glob.glob(os.path.join(glob.escape(folder), "*.parquet")))


def _split(path: str) -> str | None:
    found = _SPLIT.match(os.path.basename(path))
    return split_name(found.group()) if found else None
