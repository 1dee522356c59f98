"""Karpathy's `dataset*.json` (RSICD, UCM-captions, Sydney-captions, COCO and Flickr splits): several captions an image.

    {"images": [{"filename": …, "filepath": …, "split": …, "sentences": [{"raw": …}, …]}, …]}

RSICD pads to five captions with duplicates; those are dropped and counted like any other duplicate.
"""

import os
from collections.abc import Iterator
from typing import ClassVar

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import Description, Options, Record
from sclip_plugin.shards.readers.fields import text_or_none
from sclip_plugin.shards.readers.files import file_hash
from sclip_plugin.shards.readers.jsonfile import check_json, first_item, objects, only_json
from sclip_plugin.shards.readers.named import NamedImages
from sclip_plugin.shards.readers.remote_images import image_folder
from sclip_plugin.shards.sample import Sample, Tally
from sclip_plugin.storage import places


class KarpathyReader:
    """Reads the JSON file, or the folder that holds it as its only `dataset*.json`.

    Images are looked for in `options.images`. Without it they are looked for in the file's folder and in its subfolders
    whose names contain "image" or "img"; the one that holds the first image counts. Images of that folder that the file
    does not name come without caption.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"images"})

    def __init__(self, source: str, options: Options) -> None:
        path = _find(source)
        if path is None:
            check_json(source)
            raise DataError(f"--from karpathy: no dataset*.json with images and their sentences: {source}")
        self.path = path
        self.tally = Tally()
        folders = [options.images] if options.images else _image_folders(places.folder_of(path))
        found = [NamedImages(image_folder(folder, "--images"), self.tally) for folder in folders]
        names = _names(first_item(path, "images.item"))
        self.images = next((one for one in found if any(one.locate(name)[0] for name in names)), found[0])

    @classmethod
    def recognises(cls, source: str) -> bool:
        """True for a JSON file whose images have `sentences` and `filename`, or a folder with one such file."""
        return _find(source) is not None

    def samples(self) -> Iterator[Sample]:
        """The images of the file with their captions, then the images that it does not name."""
        for where, image in objects(self.path, "images.item", "image"):
            names = _names(image)
            name = next((name for name in names if self.images.locate(name)[0]), names[0])
            fields = {"image": name, "caption": image.get("sentences"), "split": image.get("split")}
            yield from self.images.sample(fields, where)
        yield from self.images.others([self.path])

    def describe(self) -> Description:
        """The file's name and hash."""
        return {"format": "karpathy", "name": os.path.basename(self.path), "sha256": file_hash(self.path)}


def _find(source: str) -> str | None:
    return only_json(source, "dataset*.json", "images.item", {"sentences", "filename"})


def _names(image: Record) -> list[str]:
    """How the image may be named below the images folder."""
    name, folder = text_or_none(image.get("filename")) or "", text_or_none(image.get("filepath"))
    return [os.path.join(folder, name), name] if folder and name else [name]


def _image_folders(root: str) -> list[str]:
    """`root` and its direct subfolders whose names contain "image" or "img"."""
    below = [
        os.path.join(root, name) for name in places.names(root) if "image" in name.lower() or "img" in name.lower()
    ]
    return [root, *(path for path in below if places.is_dir(path) and not os.path.islink(path))]
