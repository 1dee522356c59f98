"""A folder of images: one folder per class, or flat. There are no captions."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

from sclip_plugin.shards.locator import FileImage
from sclip_plugin.shards.readers.base import Description
from sclip_plugin.shards.readers.files import Unread
from sclip_plugin.shards.readers.remote_images import image_folder
from sclip_plugin.shards.sample import Sample, Tally
from sclip_plugin.storage import places


class FolderReader:
    """Reads every image below a folder. Files in it that look like captions are not read, but noted.

    Args:
        source: the folder.
        flag: the option that named it, for messages.
        classes: whether the first folder below `source` is the label of the images in it.
    """

    takes: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, source: str, flag: str = "SOURCE", classes: bool = True) -> None:
        self.folder = image_folder(source, flag)
        self.classes = classes
        self.tally = Tally()

    @classmethod
    def recognises(cls, source: str) -> bool:
        """True for any folder; this format is asked last."""
        return places.is_dir(source)

    def samples(self) -> Iterator[Sample]:
        """The images, sorted within each folder."""
        skipped: Counter[str] = Counter()
        unread = Unread()
        for relative in self.folder.walk(skipped, unread):
            top, slash, _ = relative.partition("/")
            label = _label(top) if self.classes and slash else None
            yield Sample(relative, FileImage(self.folder.path(relative)), label=label)
        self.tally.images += skipped.total()
        self.tally.skipped_images += skipped
        self.tally.notes += unread.notes()

    def describe(self) -> Description:
        """The folder's name."""
        return {"format": "folder", "name": os.path.basename(self.folder.root)}


def _label(folder: str) -> str:
    """The class that a folder's name says; bytes that are no UTF-8 become escapes, so that names stay different."""
    return os.fsencode(folder).decode("utf-8", "backslashreplace").replace("_", " ")
