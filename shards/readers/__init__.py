"""Readers: one small file for each source format; all of them give `Sample`s.

A new format is a class as `base.FormatReader` describes it, in a file of its own, and a line in the table below.
"""

from importlib import import_module

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.shards.readers.base import FormatReader, Options, Reader
from sclip_plugin.shards.readers.jsonfile import check_json
from sclip_plugin.storage import places
from sclip_plugin.storage.urls import is_url

# name → class, which is imported when it is asked for, since some need an extra. The order is the order of recognition:
# where several formats recognise a source, the first one reads it.
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
LOCAL = ("fashion200k", "fashiongen", "polyvore", "scicap")  # what is read from the disk only


def reader_class(form: str) -> type[FormatReader]:
    """The class that reads a format of `FORMATS`."""
    module, name = _FORMATS[form].split(".")
    found: type[FormatReader] = getattr(import_module(f"sclip_plugin.shards.readers.{module}"), name)
    return found


def recognise(source: str) -> str:
    """The format of `source`.

    Raises:
        DataError: it does not exist, or is called .json and is not JSON.
        UsageError: it is of no format that is known.
    """
    if not places.exists(source):
        raise DataError(f"no such file or folder: {source}")
    found = next((form for form in FORMATS if reader_class(form).recognises(source)), None)
    if found is None:
        check_json(source)
        raise UsageError(f"{source}: format not recognised; give --from {{{','.join(FORMATS)}}}")
    return found


def make_reader(source: str, options: Options, form: str | None = None) -> Reader:
    """The reader for `source`, of the format that is given or recognised.

    Args:
        source: a file or folder, by path or URL.
        options: what the user, or a recipe, says about it.
        form: one of `FORMATS`; None: it is recognised.

    Raises:
        DataError: the source does not exist, or is not of that format.
        UsageError: the format does not take an option that was given, or cannot be told.
    """
    form = form or recognise(source)
    kind = reader_class(form)
    if is_url(source) and form in LOCAL:
        raise UsageError(f"{source}: --from {form} reads folders of this machine only")
    given = (["images"] if options.images else []) + [f"{role}-column" for role in options.columns]
    for name in given:
        if name.removesuffix("-column") not in kind.takes:
            raise UsageError(f"--{name} has no meaning for {source}, read as {form}")
    if not places.exists(source):
        raise DataError(f"no such file or folder: {source}")
    return kind(source, options) if kind.takes else kind(source)
