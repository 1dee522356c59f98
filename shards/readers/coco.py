"""COCO captions: images joined with annotations by image id.

{"images": [{"id": …, "file_name": …}, …], "annotations": [{"image_id": …, "caption": …}, …]}
"""

import os
from collections.abc import Iterator

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import Options, as_captions
from sclip_plugin.shards.readers.files import ImageFolder, file_hash
from sclip_plugin.shards.readers.jsonfile import items, only_json
from sclip_plugin.shards.readers.named import NamedImages
from sclip_plugin.shards.sample import Sample, Tally


class CocoReader:
    """`source`: the JSON file. Images of `options.images` (default: the file's folder) that no annotation names come
    without caption. Keeps the file name of each id in memory, some 150 bytes an image."""

    takes = frozenset({"images"})

    def __init__(self, source: str, options: Options):
        self.path = _find(source)
        if self.path is None:
            raise DataError(f"--from coco: no JSON with images and annotations: {source}")
        self.tally = Tally()
        beside = os.path.dirname(os.path.abspath(self.path))
        self.images = NamedImages(ImageFolder(options.images or beside, "--images"), self.tally, beside)

    @classmethod
    def recognises(cls, source: str) -> bool:
        return _find(source) is not None

    def samples(self) -> Iterator[Sample]:
        names = {}
        for image in items(self.path, "images.item"):
            names[image.get("id")] = str(image.get("file_name") or "")
            yield from self.images.sample({"image": names[image.get("id")]}, self.path)
        for number, note in enumerate(items(self.path, "annotations.item"), 1):
            if note.get("image_id") not in names:
                self.tally.skip_captions("annotation of an unknown image id", len(as_captions(note.get("caption"))))
                continue
            fields = {"image": names[note["image_id"]], "caption": note.get("caption")}
            yield from self.images.sample(fields, f"{self.path}: annotation {number}")
        yield from self.images.others()

    def describe(self) -> dict:
        return {"format": "coco", "name": os.path.basename(self.path), "sha256": file_hash(self.path)}


def _find(source: str) -> str | None:
    return only_json(source, "*.json", "images.item", {"id", "file_name"}) if os.path.isfile(source) else None
