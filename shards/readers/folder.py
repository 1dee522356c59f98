"""A folder of images: one folder per class, or flat. No captions."""

import os
from collections import Counter
from collections.abc import Iterator

from sclip_plugin.shards.readers.base import FileImage, Sample, Tally
from sclip_plugin.shards.readers.files import ImageFolder


class FolderReader:
    """Every image below `path`; with `classes`, the first folder's name is its label.

    prefix: put before each source name, so that two folders can hold files of one name.
    """

    def __init__(self, path: str, flag: str, classes: bool = True, prefix: str = ""):
        self.folder = ImageFolder(path, flag)
        self.classes = classes
        self.prefix = prefix
        self.tally = Tally()

    def samples(self) -> Iterator[Sample]:
        skipped = Counter()
        for relative in self.folder.walk(skipped):
            self.tally.images += 1
            top, slash, _ = relative.partition("/")
            label = top.replace("_", " ") if self.classes and slash else None
            yield Sample(self.prefix + relative, FileImage(self.folder.path(relative)), label=label)
        self.tally.images += skipped.total()
        self.tally.skipped_images += skipped

    def describe(self) -> dict:
        return {"format": "folder", "name": os.path.basename(self.folder.root)}
