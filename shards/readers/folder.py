"""A folder of images: one folder per class, or flat. No captions."""

import os
from collections import Counter
from collections.abc import Iterator

from sclip_plugin.shards.locator import FileImage
from sclip_plugin.shards.readers.base import Options
from sclip_plugin.shards.readers.files import ImageFolder
from sclip_plugin.shards.sample import Sample, Tally

TEXTS = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".hdf5", ".h5")


class FolderReader:
    """Every image below `path`; the first folder's name is its label.

    flag: how messages call the folder. classes: whether folders are classes. Files at the top that look like captions
    are not read; they are noted.
    """

    takes = frozenset()

    def __init__(self, path: str, options: Options | None = None, flag: str = "SOURCE", classes: bool = True):
        self.folder = ImageFolder(path, flag)
        self.classes = classes
        self.tally = Tally()

    @classmethod
    def recognises(cls, source: str) -> bool:
        return os.path.isdir(source)

    def samples(self) -> Iterator[Sample]:
        skipped: Counter = Counter()
        for relative in self.folder.walk(skipped):
            top, slash, _ = relative.partition("/")
            label = top.replace("_", " ") if self.classes and slash else None
            yield Sample(relative, FileImage(self.folder.path(relative)), label=label)
        self.tally.images += skipped.total()
        self.tally.skipped_images += skipped
        for name in sorted(os.listdir(self.folder.root)):
            if name.lower().endswith(TEXTS):
                self.tally.notes[f"not read: {name} (give the file as SOURCE to read it)"] += 1

    def describe(self) -> dict:
        return {"format": "folder", "name": os.path.basename(self.folder.root)}
