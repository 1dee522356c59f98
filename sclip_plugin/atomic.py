"""Writing a file so that it appears whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sclip_plugin.errors import DataError


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """A file beside `path`, which is flushed to disk and renamed to `path` when the block ends without an error.

    Missing parent folders are made.

    Raises:
        DataError: the file cannot be written (a full disk, say); names it. Nothing is left beside it, as after any
            other error in the block.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException as error:
        with suppress(OSError):
            aside.unlink()
        if isinstance(error, OSError):
            raise DataError(f"{path}: {error.strerror or error}") from None
        raise


def write_atomic(path: str | Path, data: str | bytes) -> None:
    """Write an `atomic_file`; text is written as UTF-8.

    Raises:
        DataError: as `atomic_file` does.
    """
    with atomic_file(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)
