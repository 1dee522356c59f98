"""Images in a folder: finding them, and keeping names from leading out of it."""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from sclip_plugin.errors import DataError
from sclip_plugin.storage import places

SUFFIXES = frozenset(("jpg", "jpeg", "jfif", "png", "webp", "tif", "tiff", "bmp", "gif", "avif", "jp2", "ppm", "pgm"))
OUTSIDE = "name leads out of the images folder"
MISSING = "image missing"
LINK = "link in the images folder"
TEXTS = frozenset(("csv", "tsv", "tab", "json", "jsonl", "ndjson", "parquet", "hdf5", "h5"))  # may hold captions
SHOWN = 3  # files that are not read which are named


def suffix_of_name(name: str) -> str:
    """What stands behind the last dot of a name, in lower case; the name where it has none."""
    return name.rpartition(".")[2].lower()


def _links(folder: str) -> frozenset[str]:
    """The names in a folder that are links; they are listed with their kind, so that none is asked by itself."""
    with os.scandir(folder) as entries:
        return frozenset(entry.name for entry in entries if entry.is_symlink())


def file_hash(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, by path or URL, in hexadecimal."""
    found = hashlib.sha256()
    with places.opened(os.fspath(path)) as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def first_existing(root: str, names: Iterable[str]) -> str | None:
    """The first of some relative names that exists below `root`, as a path; None without any."""
    return next((path for name in names if os.path.exists(path := os.path.join(root, name))), None)


class Unread:
    """Files in a folder of images that look like captions and are not read.

    Args:
        read: files and folders that are read, and so do not count.
    """

    def __init__(self, read: Iterable[str] = ()) -> None:
        self._read = {places.real(path) for path in read}
        self._number, self._first = 0, list[str]()

    def look_at(self, folder: str, prefix: str, files: Collection[str]) -> None:
        """Count the files of a folder.

        Args:
            folder: its path, without links.
            prefix: what stands before the names in messages.
            files: the names of its files, sorted.
        """
        images = {name.rpartition(".")[0] for name in files if suffix_of_name(name) in SUFFIXES}
        for name in files:
            suffix = suffix_of_name(name)
            beside = suffix == "txt" and name.rpartition(".")[0] in images  # a caption file for each image
            if (beside or suffix in TEXTS) and not self._is_read(os.path.join(folder, name)):
                self._number += 1
                if len(self._first) < SHOWN:
                    self._first.append(" ".join((prefix + name).splitlines()))

    def _is_read(self, path: str) -> bool:
        return path in self._read or any(path.startswith(os.path.join(folder, "")) for folder in self._read)

    def notes(self) -> Counter[str]:
        """{what the user should see: how many files}."""
        if not self._number:
            return Counter()
        more = f" and {self._number - SHOWN} more" if self._number > SHOWN else ""
        return Counter({f"not read: {', '.join(self._first)}{more} (give the file as SOURCE to read it)": self._number})


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
        self._below = os.path.join(self.root, "")

    def locate(self, name: str, base: str | None = None) -> tuple[str | None, str]:
        """(path relative to the folder, "") of an image, or (None, reason).

        Links are followed as long as they stay inside.

        Args:
            name: of the image.
            base: the folder that `name` is relative to; None: this one.
        """
        joined = os.path.join(base or self.root, name.strip())
        parent, last = os.path.split(joined)
        try:
            if parent not in self._folders:
                self._folders[parent] = os.path.realpath(parent)
        except (OSError, ValueError):  # halves of surrogate pairs or NUL in the name
            return None, MISSING
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
        return path[len(self._below) :].replace(os.sep, "/"), ""

    def _inside(self, path: str) -> bool:
        return path.startswith(self._below)

    def walk(self, skipped: Counter[str], unread: Unread | None = None) -> Iterator[str]:
        """The relative paths of the images, sorted within each folder.

        Hidden files and folders are passed over.

        Args:
            skipped: links are counted here; they are not followed.
            unread: files that look like captions are counted here.
        """
        for folder, folders, files in os.walk(self.root):
            links = _links(folder)
            linked = [name for name in folders if name in links]
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in linked)
            skipped.update({LINK: len(linked)} if linked else {})
            prefix = "" if folder == self.root else f"{os.path.relpath(folder, self.root).replace(os.sep, '/')}/"
            files = sorted(name for name in files if not name.startswith("."))
            if unread is not None:
                unread.look_at(folder, prefix, files)
            for name in files:
                if suffix_of_name(name) not in SUFFIXES:
                    continue
                if name in links:
                    skipped[LINK] += 1
                else:
                    yield prefix + name

    def path(self, relative: str) -> str:
        """Where an image is whose relative path is known."""
        return self._below + relative.replace("/", os.sep)
