"""Images in a folder: finding them, and keeping names from leading out of it."""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator

from sclip_plugin.errors import DataError

SUFFIXES = frozenset(("jpg", "jpeg", "jfif", "png", "webp", "tif", "tiff", "bmp", "gif", "avif", "jp2", "ppm", "pgm"))
OUTSIDE = "name leads out of the images folder"
MISSING = "image missing"
LINK = "link in the images folder"


def file_hash(path: str) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def first_existing(root: str, names: Iterable[str]) -> str | None:
    """The first of some relative names that exists below `root`, as a path; None without any."""
    return next((path for name in names if os.path.exists(path := os.path.join(root, name))), None)


class ImageFolder:
    """A folder of images; every name is resolved to a real file inside it or refused.

    Args:
        path: the folder.
        flag: the option that named it, for the message.

    Attributes:
        root: the folder, without links.

    Raises:
        DataError: there is no such folder.
    """

    def __init__(self, path: str, flag: str) -> None:
        if not os.path.isdir(path):
            raise DataError(f"{flag}: no such folder: {path}")
        self.root = os.path.realpath(path)
        self._folders: dict[str, str] = {}  # folder → the same without links

    def locate(self, name: str, base: str | None = None) -> tuple[str | None, str]:
        """(path relative to the folder, "") of an image, or (None, reason).

        Links are followed as long as they stay inside.

        Args:
            name: of the image.
            base: the folder that `name` is relative to; None: this one.
        """
        joined = os.path.join(base or self.root, name.strip())
        parent, last = os.path.split(joined)
        if parent not in self._folders:
            self._folders[parent] = os.path.realpath(parent)
        path = os.path.join(self._folders[parent], last)
        try:
            path, mode = os.path.normpath(path), os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                path = os.path.realpath(path)
                mode = os.stat(path).st_mode
        except (OSError, ValueError):
            return None, MISSING if self._inside(os.path.normpath(path)) else OUTSIDE
        if not self._inside(path):
            return None, OUTSIDE
        if not stat.S_ISREG(mode):
            return None, MISSING
        return os.path.relpath(path, self.root).replace(os.sep, "/"), ""

    def _inside(self, path: str) -> bool:
        return path.startswith(os.path.join(self.root, ""))

    def walk(self, skipped: Counter[str]) -> Iterator[str]:
        """The relative paths of the images, sorted within each folder.

        Hidden files and folders are passed over.

        Args:
            skipped: links are counted here; they are not followed.
        """
        for folder, folders, files in os.walk(self.root):
            linked = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in linked)
            skipped.update({LINK: len(linked)} if linked else {})
            prefix = os.path.relpath(folder, self.root).replace(os.sep, "/")
            for name in sorted(files):
                if name.startswith(".") or name.rpartition(".")[2].lower() not in SUFFIXES:
                    continue
                if os.path.islink(os.path.join(folder, name)):
                    skipped[LINK] += 1
                else:
                    yield name if prefix == "." else f"{prefix}/{name}"

    def path(self, relative: str) -> str:
        """Where an image is whose relative path is known."""
        return os.path.join(self.root, *relative.split("/"))
