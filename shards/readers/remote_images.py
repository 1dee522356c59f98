"""Images in a folder of a store, found by listings: one for each folder, and none for each image."""

import posixpath
from collections import Counter
from collections.abc import Iterator
from typing import Final

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.files import MISSING, OUTSIDE, SUFFIXES, ImageFolder, Unread, suffix_of_name
from sclip_plugin.storage import objects, places
from sclip_plugin.storage.urls import is_url

HELD: Final = 64  # ours: folders whose names are in memory, for captions that name their images in any order


class RemoteImageFolder(ImageFolder):
    """A folder of images in a store, which knows no links.

    Attributes:
        root: its URL, without a slash at its end.

    Raises:
        DataError: there is no such folder.
    """

    def __init__(self, url: str, flag: str) -> None:
        if not places.is_dir(url):
            raise DataError(f"{flag}: no such folder: {url}")
        self.root = places.real(url)
        self._names: dict[str, frozenset[str]] = {}  # folder → the names of the objects in it

    def locate(self, name: str, base: str | None = None) -> tuple[str | None, str]:
        """(path relative to the folder, "") of an image, or (None, reason)."""
        if base is not None and not self._inside(f"{base}/"):
            return None, MISSING
        start = "" if base is None else places.relative(f"{base}/", self.root)
        name = name.strip()
        if is_url(name) and self._inside(name):
            start, name = "", places.relative(name, self.root)
        relative = posixpath.normpath(posixpath.join(start, name))
        if is_url(name) or relative.startswith(("/", "../")) or relative in (".", ".."):
            return None, OUTSIDE
        folder, last = posixpath.split(relative)
        return (relative, "") if last in self._names_in(folder) else (None, MISSING)

    def _inside(self, url: str) -> bool:
        return url.startswith(f"{self.root}/")

    def _names_in(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            if len(self._names) >= HELD:
                self._names.pop(next(iter(self._names)))
            self._names[folder] = frozenset(one.name for one in self._entries(folder) if not one.folder)
        return self._names[folder]

    def _entries(self, folder: str) -> list[objects.Entry]:
        try:
            return objects.listed(f"{self.root}/{folder}".rstrip("/"))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def walk(self, skipped: Counter[str], unread: Unread | None = None) -> Iterator[str]:
        """The relative paths of the images, sorted within each folder. Hidden files and folders are passed over."""
        yield from self._walk("", unread)

    def _walk(self, folder: str, unread: Unread | None) -> Iterator[str]:
        prefix = f"{folder}/" if folder else ""
        entries = [one for one in self._entries(folder) if not one.name.startswith(".")]
        files = [one.name for one in entries if not one.folder]
        if unread is not None:
            unread.look_at(f"{self.root}/{folder}".rstrip("/"), prefix, files)
        yield from (prefix + name for name in files if suffix_of_name(name) in SUFFIXES)
        for one in entries:
            if one.folder:
                yield from self._walk(prefix + one.name, unread)

    def path(self, relative: str) -> str:
        """Where an image is whose relative path is known."""
        return f"{self.root}/{relative}"


def image_folder(place: str, flag: str) -> ImageFolder:
    """The folder of images at a path or URL.

    Args:
        place: where it is.
        flag: the option that named it, for the message.

    Raises:
        DataError: there is no such folder.
    """
    return RemoteImageFolder(place, flag) if is_url(place) else ImageFolder(place, flag)
