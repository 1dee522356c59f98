"""Questions about files and folders whose places are texts: paths of this machine, or URLs.

Each function does for a URL what `os.path`, `glob` and `open` do for a path.
"""

import glob
import io
import os
from fnmatch import fnmatchcase
from typing import BinaryIO, Final

from sclip_plugin.storage import objects
from sclip_plugin.storage.location import RemotePath
from sclip_plugin.storage.remote_file import RemoteFile
from sclip_plugin.storage.urls import is_url, join

BUFFER: Final = 1 << 16  # bytes that are taken out of a block at once, for readers of lines


def exists(place: str) -> bool:
    """Whether anything is there."""
    return RemotePath(place).exists() or RemotePath(place).is_dir() if is_url(place) else os.path.exists(place)


def is_file(place: str) -> bool:
    """Whether it is a file or an object."""
    return RemotePath(place).is_file() if is_url(place) else os.path.isfile(place)


def is_dir(place: str) -> bool:
    """Whether it is a folder."""
    return RemotePath(place).is_dir() if is_url(place) else os.path.isdir(place)


def names(folder: str) -> list[str]:
    """The names of what is in a folder, sorted."""
    return [one.name for one in objects.listed(folder)] if is_url(folder) else sorted(os.listdir(folder))


def listed(folder: str, pattern: str) -> list[str]:
    """The places in a folder whose names match a pattern, sorted; none where there is no folder."""
    if not is_url(folder):
        return sorted(glob.glob(os.path.join(glob.escape(folder), pattern)))
    try:
        entries = objects.listed(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [join(folder, one.name) for one in entries if fnmatchcase(one.name, pattern)]


def real(place: str) -> str:
    """The place without links, and without a slash at its end."""
    return place.rstrip("/") if is_url(place) else os.path.realpath(place)


def absolute(place: str) -> str:
    """The place as other machines find it: URLs as they are, paths from the root on."""
    return place if is_url(place) else os.path.join(os.getcwd(), place)


def name(place: str) -> str:
    """The last part of a place, without links."""
    return os.path.basename(real(place))


def folder_of(place: str) -> str:
    """The folder that something is in."""
    return os.path.dirname(place.rstrip("/") if is_url(place) else os.path.abspath(place))


def relative(place: str, folder: str) -> str:
    """The name of something below a folder, relative to it."""
    return place.removeprefix(f"{folder.rstrip('/')}/") if is_url(place) else os.path.relpath(place, folder)


def opened(place: str) -> BinaryIO:
    """A seekable file of the bytes there, which the caller closes."""
    return io.BufferedReader(RemoteFile(place), BUFFER) if is_url(place) else open(place, "rb")
