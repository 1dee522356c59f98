"""Polyvore: `{train,valid,test}_info.json` (`images, id, title, description`) and `polyvore_item_metadata.json`, whose
`semantic_category` is the label."""

import glob
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, TypedDict

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import Description, Options, Record
from sclip_plugin.shards.readers.fields import Fields, captions_of, text_or_none
from sclip_plugin.shards.readers.files import ImageFolder, file_hash, first_existing
from sclip_plugin.shards.readers.jsonfile import events, objects
from sclip_plugin.shards.readers.named import NamedImages
from sclip_plugin.shards.sample import Sample, Tally

METADATA = "polyvore_item_metadata.json"


class PolyvoreReader:
    """Reads the folder with the JSON files and `images/`."""

    takes: ClassVar[frozenset[str]] = frozenset({"images"})

    def __init__(self, source: str, options: Options) -> None:
        self.source = source
        self.files = _files(source)
        if not self.files:
            raise DataError(f"--from polyvore: no *_info.json beside {METADATA} in {source}")
        self.tally = Tally()
        folder = options.images or first_existing(source, ("images",)) or source
        self.images = NamedImages(ImageFolder(folder, "--images"), self.tally)

    @classmethod
    def recognises(cls, source: str) -> bool:
        """True for a folder with the metadata and `*_info.json`."""
        return bool(_files(source))

    def samples(self) -> Iterator[Sample]:
        """The items of each file, then the images that none names."""
        labels = _labels(os.path.join(self.source, METADATA))
        for path in self.files:
            split = os.path.basename(path).removesuffix("_info.json")
            for where, item in objects(path, "item", "item"):
                number = text_or_none(item.get("id"))
                record = {"image": item.get("images") or f"{number}.jpg", "label": labels.get(number or "")}
                fields = replace(Fields.of({**record, "split": split}), **_captions(item))
                yield from self.images.sample_of(fields, where)
        yield from self.images.others([*self.files, os.path.join(self.source, METADATA)])

    def describe(self) -> Description:
        """The folder's name, and the hash of each file of items."""
        hashes = {os.path.basename(path): file_hash(path) for path in self.files}
        return {"format": "polyvore", "name": os.path.basename(os.path.realpath(self.source)), "sha256": hashes}


class _Captions(TypedDict):
    captions: list[str]
    lost: int


def _captions(item: Record) -> _Captions:
    """Title and description, as sentences of one caption; what is no text is counted."""
    texts, lost = captions_of([item.get("title"), item.get("description")])
    sentences = ". ".join(text.strip().rstrip(". ") for text in texts if text.strip())
    return {"captions": [sentences] if sentences or not lost else [], "lost": lost}


def _labels(path: str) -> dict[str, str]:
    """{item id: semantic category}."""
    return {
        prefix.removesuffix(".semantic_category"): value
        for prefix, event, value in events(path)
        if event == "string" and prefix.endswith(".semantic_category")
    }


def _files(source: str) -> list[str]:
    if not os.path.isfile(os.path.join(source, METADATA)):
        return []
    return sorted(glob.glob(os.path.join(glob.escape(source), "*_info.json")))
