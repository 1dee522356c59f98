"""Karpathy's `dataset*.json` (RSICD, UCM-captions, Sydney-captions, COCO and Flickr splits): several captions an image.

    {"images": [{"filename": …, "filepath": …, "split": …, "sentences": [{"raw": …}, …]}, …]}

RSICD pads to five captions with duplicates; those are dropped and counted like any other duplicate.
"""

import os
from collections.abc import Iterator

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import FileImage, Options, Sample, Tally, as_captions, split_name
from sclip_plugin.shards.readers.files import ImageFolder, file_hash
from sclip_plugin.shards.readers.jsonfile import items, only_json


class KarpathyReader:
    """`source`: the JSON file, or the folder that holds it as its only `dataset*.json`.

    Images are looked for in `options.images`, or in the file's folder and its subfolders whose names say image or img.
    """

    takes = frozenset({"images"})

    def __init__(self, source: str, options: Options):
        self.path = _find(source)
        if self.path is None:
            raise DataError(f"--from karpathy: no dataset*.json with images and their sentences: {source}")
        self.folders = image_folders(options.images or os.path.dirname(os.path.abspath(self.path)))
        self.tally = Tally()

    @classmethod
    def recognises(cls, source: str) -> bool:
        return _find(source) is not None

    def samples(self) -> Iterator[Sample]:
        for number, image in enumerate(items(self.path, "images.item"), 1):
            captions = as_captions(image.get("sentences"))
            found, reason = self._locate(image)
            if found is None:
                self.tally.skip_captions(reason, len(captions))
                self.tally.notes[f"row without image: {reason}"] += 1
                continue
            name, path = found
            split, where = split_name(image.get("split")), f"{self.path}: image {number}"
            yield Sample(name, FileImage(path), captions, split=split, where=where)

    def _locate(self, image: dict) -> tuple[tuple[str, str] | None, str]:
        name, reason = str(image.get("filename") or ""), "no image named"
        for relative in dict.fromkeys((os.path.join(str(image.get("filepath") or ""), name), name)) if name else ():
            for folder in self.folders:
                source, reason = folder.locate(relative)
                if source:
                    return (source, folder.path(source)), ""
        return None, reason

    def describe(self) -> dict:
        return {"format": "karpathy", "name": os.path.basename(self.path), "sha256": file_hash(self.path)}


def _find(source: str) -> str | None:
    return only_json(source, "dataset*.json", "images.item", {"sentences", "filename"})


def image_folders(root: str) -> list[ImageFolder]:
    """`root` and its direct subfolders whose names say image or img."""
    found = [ImageFolder(root, "--images")]
    for name in sorted(os.listdir(root)):
        path = os.path.join(root, name)
        if ("image" in name.lower() or "img" in name.lower()) and os.path.isdir(path) and not os.path.islink(path):
            found.append(ImageFolder(path, "--images"))
    return found
