"""Hugging Face's imagefolder with `metadata.csv`, `.jsonl` or `.parquet`, at its top or in each split's folder."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import ClassVar

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import Description, Options, Record, split_name
from sclip_plugin.shards.readers.columns import ROLES
from sclip_plugin.shards.readers.files import file_hash
from sclip_plugin.shards.readers.named import NamedImages, NamedRecords
from sclip_plugin.shards.readers.parquet import parquet_records
from sclip_plugin.shards.readers.records import records
from sclip_plugin.shards.readers.remote_images import image_folder
from sclip_plugin.shards.readers.table import csv_records
from sclip_plugin.shards.sample import Sample, Tally
from sclip_plugin.storage import places

READ: dict[str, Callable[[str], Iterator[tuple[str, Record]]]] = {
    "metadata.csv": csv_records,
    "metadata.jsonl": records,
    "metadata.parquet": parquet_records,
}
SPLITS = ("train", "val", "test")


class ImageFolderReader:
    """Reads the folder. `file_name` is relative to the metadata file; the name of a split's folder is the split."""

    takes: ClassVar[frozenset[str]] = frozenset(ROLES) - {"image"}

    def __init__(self, source: str, options: Options) -> None:
        self.root, self.options = source, options
        self.files = _metadata(source) if places.is_dir(source) else []
        if not self.files:
            raise DataError(f"--from imagefolder: no metadata.csv, .jsonl or .parquet in {source} or its split folders")
        self.tally = Tally()
        self.folder = image_folder(source, "SOURCE")

    @classmethod
    def recognises(cls, source: str) -> bool:
        """True for a folder with a metadata file."""
        return places.is_dir(source) and bool(_metadata(source))

    def samples(self) -> Iterator[Sample]:
        """One sample for each row of the metadata, then the images that none names."""
        for path in self.files:
            yield from self._listed(path)
        for sample in NamedImages(self.folder, self.tally).others(self.files):
            sample.split = self._split(sample.source)
            yield sample

    def _listed(self, path: str) -> Iterator[Sample]:
        """The samples of one metadata file."""
        images = NamedImages(self.folder, self.tally, places.folder_of(places.real(path)))
        options = replace(self.options, columns={"image": "file_name", **self.options.columns})
        for sample in NamedRecords(images, path, options).samples(READ[os.path.basename(path)](path)):
            sample.split = sample.split or self._split(sample.source)
            yield sample

    @staticmethod
    def _split(source: str) -> str | None:
        top = split_name(source.partition("/")[0]) if "/" in source else None
        return top if top in SPLITS else None

    def describe(self) -> Description:
        """The folder's name, and the hash of each metadata file."""
        hashes = {places.relative(path, self.root): file_hash(path) for path in self.files}
        return {"format": "imagefolder", "name": os.path.basename(self.folder.root), "sha256": hashes}


def _metadata(source: str) -> list[str]:
    """The metadata files at the top, or else those in the folders of splits."""
    top = [os.path.join(source, name) for name in READ]
    below = [
        os.path.join(source, folder, name)
        for folder in places.names(source)
        if split_name(folder) in SPLITS
        for name in READ
    ]
    return [path for path in top if places.is_file(path)] or [path for path in below if places.is_file(path)]
