"""Writing a small file so that it appears whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from sclip_plugin.errors import DataError


def write_atomic(path: str | Path, data: str | bytes) -> None:
    """Write beside `path`, flush to disk, rename. Missing parent folders are made; text is written as UTF-8.

    Raises:
        DataError: the file cannot be written (a full disk, say); names it. Nothing is left beside it.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException as error:
        with suppress(OSError):
            aside.unlink()
        if isinstance(error, OSError):
            raise DataError(f"{path}: {error.strerror or error}") from None
        raise
