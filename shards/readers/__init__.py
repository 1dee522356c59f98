"""Readers: one small file per source format, all giving `base.Sample`s. A new format is a file and a line."""

import os

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.shards.readers.base import Reader
from sclip_plugin.shards.readers.folder import FolderReader
from sclip_plugin.shards.readers.table import TableReader

FORMATS = ("table", "folder")


def recognise(source: str) -> str:
    """The format of `source`. Raises DataError where it does not exist, UsageError where it cannot be told."""
    if os.path.isdir(source):
        return "folder"
    if not os.path.isfile(source):
        raise DataError(f"no such file or folder: {source}")
    if source.lower().endswith((".csv", ".tsv", ".txt", ".tab")):
        return "table"
    raise UsageError(f"{source}: format not recognised; give --from {{{','.join(FORMATS)}}}")


def make_reader(source: str, images: str | None, columns: dict[str, str], form: str | None, captions: bool) -> Reader:
    """The reader for `source`.

    Raises:
        UsageError: options that this format does not take.
    """
    recognised = recognise(source)
    form = form or recognised
    if form == "folder":
        taken = [f"--{name}-column" for name in columns] + (["--images"] if images else [])
        if taken:
            raise UsageError(f"{taken[0]} has no meaning for a folder of images ({source})")
        return FolderReader(source, "SOURCE")
    if os.path.isdir(source):
        raise UsageError(f"--from table: {source} is a folder")
    return TableReader(source, images, columns, captions)
