"""Hugging Face's `Dataset.save_to_disk` and `DatasetDict.save_to_disk`: Arrow files with the images inside.

Needs pyarrow: `pip install 'sclip-plugin[parquet]'`.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import Description, Options, split_name
from sclip_plugin.shards.readers.columnar import RowFile, pyarrow
from sclip_plugin.shards.readers.columns import ROLES
from sclip_plugin.shards.readers.fields import is_unicode
from sclip_plugin.shards.readers.jsonfile import read_object
from sclip_plugin.shards.readers.parts import Parted
from sclip_plugin.shards.sample import Sample, Tally
from sclip_plugin.storage import places
from sclip_plugin.storage.copies import on_disk
from sclip_plugin.storage.location import location

if TYPE_CHECKING:
    from pyarrow import MemoryMappedFile, RecordBatch


class ArrowReader(Parted):
    """Reads the folder of a saved data set.

    With `dataset_dict.json` in it, the folders below are its splits.
    """

    takes: ClassVar[frozenset[str]] = frozenset(ROLES)

    def __init__(self, source: str, options: Options) -> None:
        if not self.recognises(source):
            raise DataError(f"--from arrow: neither dataset_dict.json nor state.json in {source}")
        pyarrow(source)
        self.source, self.options = source, options
        self.tally = Tally()
        self.files = list(_files(source))

    @classmethod
    def recognises(cls, source: str) -> bool:
        """True for a folder with `dataset_dict.json` or `state.json`."""
        return any(places.is_file(os.path.join(source, name)) for name in ("dataset_dict.json", "state.json"))

    def samples(self) -> Iterator[Sample]:
        """The rows of each Arrow file, in order."""
        given, captions = self.options.columns, self.options.captions
        parts = []
        for number, (split, path) in enumerate(self.files):
            name = "/".join(filter(None, (split, os.path.basename(path).removesuffix(".arrow"))))
            spool = self.options.spool / f"arrow-{number}"
            parts.append(RowFile(self.source, path, name, _batches, split_name(split), given, captions, spool))
        yield from self.read(parts, self.tally)

    def describe(self) -> Description:
        """The folder's name, and the hash of each Arrow file."""
        paths = [path for _, path in self.files]
        hashes = dict(zip((places.relative(path, self.source) for path in paths), self.hashes(paths)))
        return {"format": "arrow", "name": places.name(self.source), "sha256": hashes}


def _files(source: str) -> Iterator[tuple[str | None, str]]:
    """(split, path) of each Arrow file.

    Raises:
        DataError: a file that names them is missing or damaged.
    """
    whole = os.path.join(source, "dataset_dict.json")
    splits = _names(whole, read_object(whole).get("splits")) if places.is_file(whole) else [None]
    for split in splits:
        folder = os.path.join(source, split) if split else source
        state = os.path.join(folder, "state.json")
        listed = read_object(state).get("_data_files")
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise DataError(f"{state}: _data_files is not a list of files")
        for name in _names(state, [one.get("filename") for one in listed]):
            yield split, os.path.join(folder, name)


def _names(path: str, found: object) -> list[str]:
    """The names that a file lists, without the folders before them.

    Raises:
        DataError: something else is listed.
    """
    listed = found if isinstance(found, list) else [None]
    names = [os.path.basename(one) if isinstance(one, str) and is_unicode(one) else "" for one in listed]
    if any(name in ("", ".", "..") or "\0" in name for name in names):
        raise DataError(f"{path}: something else than names is listed in it")
    if len(set(names)) < len(names):
        raise DataError(f"{path}: a name is listed twice in it")
    return names


def _batches(path: str) -> Iterator["RecordBatch"]:
    """Record batches of Arrow's streaming or file format, mapped rather than read."""
    import pyarrow as pa

    with on_disk(location(path)) as copy, pa.memory_map(str(copy)) as file:
        for batch in _read(file):
            batch.validate(full=True)  # a wrong offset would lead out of the memory that is mapped
            yield batch


def _read(file: "MemoryMappedFile") -> Iterator["RecordBatch"]:
    import pyarrow as pa

    try:
        stream = pa.ipc.open_stream(file)
    except pa.ArrowInvalid:
        whole = pa.ipc.open_file(file)
        yield from (whole.get_batch(number) for number in range(whole.num_record_batches))
    else:
        yield from stream
