"""COCO captions: images joined with annotations by image id.

{"images": [{"id": …, "file_name": …}, …], "annotations": [{"image_id": …, "caption": …}, …]}
"""

import os
from collections.abc import Iterator
from typing import ClassVar

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import Description, Options, as_captions
from sclip_plugin.shards.readers.files import ImageFolder, file_hash
from sclip_plugin.shards.readers.jsonfile import objects, only_json
from sclip_plugin.shards.readers.named import NamedImages
from sclip_plugin.shards.sample import Sample, Tally


class CocoReader:
    """Reads the JSON file.

    Images of `options.images` (default: the file's folder) that no annotation names come without caption. The file name
    of each id is kept in memory, some 150 bytes an image.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"images"})

    def __init__(self, source: str, options: Options) -> None:
        path = _find(source)
        if path is None:
            raise DataError(f"--from coco: no JSON with images and annotations: {source}")
        self.path = path
        self.tally = Tally()
        beside = os.path.dirname(os.path.abspath(path))
        self.images = NamedImages(ImageFolder(options.images or beside, "--images"), self.tally, beside)

    @classmethod
    def recognises(cls, source: str) -> bool:
        """True for a JSON file whose images have `id` and `file_name`."""
        return _find(source) is not None

    def samples(self) -> Iterator[Sample]:
        """Every image once without caption, then one sample for each annotation."""
        names: dict[object, str] = {}
        for _, image in objects(self.path, "images.item", "image"):
            names[image.get("id")] = str(image.get("file_name") or "")
            yield from self.images.sample({"image": names[image.get("id")]}, self.path)
        for where, note in objects(self.path, "annotations.item", "annotation"):
            if note.get("image_id") not in names:
                self.tally.skip_captions("annotation of an unknown image id", len(as_captions(note.get("caption"))))
                continue
            yield from self.images.sample({"image": names[note["image_id"]], "caption": note.get("caption")}, where)
        yield from self.images.others()

    def describe(self) -> Description:
        """The file's name and hash."""
        return {"format": "coco", "name": os.path.basename(self.path), "sha256": file_hash(self.path)}


def _find(source: str) -> str | None:
    return only_json(source, "*.json", "images.item", {"id", "file_name"}) if os.path.isfile(source) else None
