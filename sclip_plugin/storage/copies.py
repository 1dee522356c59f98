"""Objects of a store on the local disk, for what reads a file twice or from a path only."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sclip_plugin.errors import DataError
from sclip_plugin.storage.location import Location, RemotePath
from sclip_plugin.storage.remote_file import BLOCK, RemoteFile


@contextmanager
def on_disk(path: Location) -> Iterator[Path]:
    """The file itself, or a copy of an object in the folder for temporary files, which is removed at the end.

    Raises:
        OSError: there is no such object, or no access.
        DataError: the store does not answer, or the copy cannot be written.
    """
    if not isinstance(path, RemotePath):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="sclip-") as folder:
        copy = Path(folder) / path.name
        download(path.url, copy)
        yield copy


def download(url: str, path: Path) -> None:
    """Write an object to a file, block by block.

    Raises:
        OSError: there is no such object, or no access.
        DataError: the store does not answer, or the file cannot be written.
    """
    with RemoteFile(url) as source:
        try:
            file = open(path, "wb")  # noqa: SIM115 (closed below; only its own errors are those of the disk)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None
        with file:
            while block := source.read(BLOCK):
                try:
                    file.write(block)
                except OSError as error:
                    raise DataError(f"{path}: {error.strerror or error}") from None
