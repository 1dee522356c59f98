"""Readers: one small file per source format, all giving `base.Sample`s. A new format is a file and a line here."""

import os
from importlib import import_module

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.shards.readers.base import Options, Reader

# name → class; imported when asked for, since some need an extra. The order is the order of recognition: a source that
# several recognise is of the first.
_FORMATS = {
    "webdataset": "webdataset.WebDatasetReader",
    "fashion200k": "fashion200k.Fashion200kReader",
    "fashiongen": "fashiongen.FashionGenReader",
    "polyvore": "polyvore.PolyvoreReader",
    "scicap": "scicap.SciCapReader",
    "karpathy": "karpathy.KarpathyReader",
    "coco": "coco.CocoReader",
    "jsonl": "records.JsonReader",
    "arrow": "arrow.ArrowReader",
    "imagefolder": "imagefolder.ImageFolderReader",
    "parquet": "parquet.ParquetReader",
    "table": "table.TableReader",
    "folder": "folder.FolderReader",
}
FORMATS = tuple(_FORMATS)


def reader_class(form: str) -> type[Reader]:
    """The reader of a format."""
    module, name = _FORMATS[form].split(".")
    return getattr(import_module(f"sclip_plugin.shards.readers.{module}"), name)


def recognise(source: str) -> str:
    """The format of `source`.

    Raises:
        DataError: it does not exist. UsageError: it cannot be told.
    """
    if not os.path.exists(source):
        raise DataError(f"no such file or folder: {source}")
    found = next((form for form in FORMATS if reader_class(form).recognises(source)), None)
    if found is None:
        raise UsageError(f"{source}: format not recognised; give --from {{{','.join(FORMATS)}}}")
    return found


def make_reader(source: str, options: Options, form: str | None = None) -> Reader:
    """The reader for `source`, of the format recognised or given.

    Raises:
        DataError: no such source, or one that is not of that format.
        UsageError: options that this format does not take; a format that cannot be told.
    """
    form = form or recognise(source)
    kind = reader_class(form)
    given = (["images"] if options.images else []) + [f"{role}-column" for role in options.columns]
    for name in given:
        if name.removesuffix("-column") not in kind.takes:
            raise UsageError(f"--{name} has no meaning for {source}, read as {form}")
    if not os.path.exists(source):
        raise DataError(f"no such file or folder: {source}")
    return kind(source, options)
