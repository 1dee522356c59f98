"""Hugging Face's `Dataset.save_to_disk` and `DatasetDict.save_to_disk`: Arrow files with the images inside.

Needs pyarrow: `pip install 'sclip-plugin[parquet]'`.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import Description, Options, split_name
from sclip_plugin.shards.readers.columnar import RowSamples, Spool, arrow_errors, pyarrow
from sclip_plugin.shards.readers.columns import ROLES
from sclip_plugin.shards.readers.files import file_hash
from sclip_plugin.shards.sample import Sample, Tally

if TYPE_CHECKING:
    from pyarrow import RecordBatch


class ArrowReader:
    """Reads the folder of a saved data set.

    With `dataset_dict.json` in it, the folders below are its splits.
    """

    takes: ClassVar[frozenset[str]] = frozenset(ROLES)

    def __init__(self, source: str, options: Options) -> None:
        if not self.recognises(source):
            raise DataError(f"--from arrow: neither dataset_dict.json nor state.json in {source}")
        pyarrow(source)
        self.source = source
        self.tally = Tally()
        self.files = list(_files(source))
        spool = Spool(options.spool, "arrow")
        self.rows = RowSamples(source, options.columns, options.captions, spool, self.tally)

    @classmethod
    def recognises(cls, source: str) -> bool:
        """True for a folder with `dataset_dict.json` or `state.json`."""
        return any(os.path.isfile(os.path.join(source, name)) for name in ("dataset_dict.json", "state.json"))

    def samples(self) -> Iterator[Sample]:
        """The rows of each Arrow file, in order."""
        for split, path in self.files:
            name = "/".join(filter(None, (split, os.path.basename(path).removesuffix(".arrow"))))
            with arrow_errors(path):
                yield from self.rows.samples(name, _batches(path), split_name(split))

    def describe(self) -> Description:
        """The folder's name, and the hash of each Arrow file."""
        hashes = {os.path.relpath(path, self.source): file_hash(path) for _, path in self.files}
        return {"format": "arrow", "name": os.path.basename(os.path.realpath(self.source)), "sha256": hashes}


def _files(source: str) -> Iterator[tuple[str | None, str]]:
    """(split, path) of each Arrow file."""
    whole = _json(os.path.join(source, "dataset_dict.json"))
    for split in whole.get("splits", []) if whole else [None]:
        folder = os.path.join(source, os.path.basename(split)) if split else source
        for one in _json(os.path.join(folder, "state.json")).get("_data_files", []):
            yield split, os.path.join(folder, os.path.basename(one["filename"]))


def _json(path: str) -> dict[str, Any]:
    """The JSON object of a file; {} without the file."""
    if not os.path.isfile(path):
        return {}
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: not a JSON object")
    return found


def _batches(path: str) -> Iterator["RecordBatch"]:
    """Record batches of Arrow's streaming or file format, mapped rather than read."""
    import pyarrow as pa

    with pa.memory_map(path) as file:
        try:
            yield from pa.ipc.open_stream(file)
        except pa.ArrowInvalid:
            reader = pa.ipc.open_file(file)
            yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
