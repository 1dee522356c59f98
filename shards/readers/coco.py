"""COCO captions: images joined with annotations by image id.

{"images": [{"id": …, "file_name": …}, …], "annotations": [{"image_id": …, "caption": …}, …]}
"""

import os
from collections.abc import Iterator
from typing import ClassVar

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import Description, Options
from sclip_plugin.shards.readers.fields import Fields, text_or_none
from sclip_plugin.shards.readers.files import file_hash
from sclip_plugin.shards.readers.jsonfile import check_json, objects, only_json
from sclip_plugin.shards.readers.named import NamedImages
from sclip_plugin.shards.readers.remote_images import image_folder
from sclip_plugin.shards.sample import Sample, Tally
from sclip_plugin.storage import places


class CocoReader:
    """Reads the JSON file.

    Images of `options.images` (default: the file's folder) that no annotation names come without caption. The file name
    of each id is kept in memory, some 150 bytes an image.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"images"})

    def __init__(self, source: str, options: Options) -> None:
        path = _find(source)
        if path is None:
            check_json(source)
            raise DataError(f"--from coco: no JSON with images and annotations: {source}")
        self.path = path
        self.tally = Tally()
        beside = places.folder_of(path)
        self.images = NamedImages(image_folder(options.images or beside, "--images"), self.tally, beside)

    @classmethod
    def recognises(cls, source: str) -> bool:
        """True for a JSON file whose images have `id` and `file_name`."""
        return _find(source) is not None

    def samples(self) -> Iterator[Sample]:
        """Every image once without caption, then one sample for each annotation.

        Raises:
            DataError: two images have the same id; the message names both.
        """
        names: dict[int | str, str] = {}
        for where, image in objects(self.path, "images.item", "image"):
            name, number = text_or_none(image.get("file_name")) or "", _id(image.get("id"))
            if number is None:
                self.tally.notes["image without an id that is a number or a text: its captions are not found"] += 1
            elif names.setdefault(number, name) != name:
                raise DataError(f"{where}: the id {number!r} belongs to {names[number]!r} and to {name!r}")
            yield from self.images.sample({"image": name}, where)
        for where, note in objects(self.path, "annotations.item", "annotation"):
            number = _id(note.get("image_id"))
            fields = Fields.of({"image": "" if number is None else names.get(number), "caption": note.get("caption")})
            if number is None or number not in names:
                fields.skip_captions("annotation of an unknown image id", self.tally)
                continue
            if not fields.captions and not fields.lost:
                self.tally.notes["annotation without caption"] += 1
            yield from self.images.sample_of(fields, where)
        yield from self.images.others([self.path])

    def describe(self) -> Description:
        """The file's name and hash."""
        return {"format": "coco", "name": os.path.basename(self.path), "sha256": file_hash(self.path)}


def _id(value: object) -> int | str | None:
    """The id of an image; None for what is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _find(source: str) -> str | None:
    return only_json(source, "*.json", "images.item", {"id", "file_name"}) if places.is_file(source) else None
