"""Files that appear whole or not at all, on the disk or in a store, which has no renaming.

In a store a file is made aside, on the local disk, and sent when it is complete: until a store has all of an object, it
shows nothing of it, or what was there before.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sclip_plugin.atomic import atomic_file
from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.storage import lease, objects
from sclip_plugin.storage.location import Location, RemotePath, location
from sclip_plugin.storage.urls import WEB, filesystem, scheme


def writable(text: str, flag: str) -> Location:
    """The place that an option names for something that will be written.

    Raises:
        UsageError: nothing can be written there, or the package of its store is not installed.
        DataError: nobody knows the store.
    """
    place = location(text)
    if isinstance(place, RemotePath):
        if scheme(place.url) in WEB:
            raise UsageError(f"{flag}: {scheme(place.url)}:// cannot be written to: {text}")
        filesystem(place.url)
    return place


@contextmanager
def whole_file(path: Location) -> Iterator[BinaryIO]:
    """A file that is put into its place when the block ends without an error.

    Raises:
        DataError: it cannot be written, or not be sent, or this process has lost the lease of the folder; nothing of it
            is left then.
    """
    if not isinstance(path, RemotePath):
        with atomic_file(path) as file:
            yield file
        return
    with tempfile.TemporaryDirectory(prefix="sclip-") as folder:
        aside = Path(folder) / path.name
        try:
            with open(aside, "wb") as file:
                yield file
        except OSError as error:
            raise DataError(f"{aside}: {error.strerror or error}") from None
        lease.check(path.url)
        try:
            objects.put(path.url, aside)
        except OSError as error:
            raise DataError(str(error)) from None


def write(path: Location, data: str | bytes) -> None:
    """Write a file, as `whole_file` does; text is written as UTF-8.

    Raises:
        DataError: it cannot be written, or not be sent.
    """
    content = data.encode() if isinstance(data, str) else data
    with whole_file(path) as file:
        file.write(content)
