"""Writing a small file so that it appears whole or not at all."""

import os
from pathlib import Path


def write_atomic(path: str | Path, data: str | bytes) -> None:
    """Write beside `path`, flush to disk, rename; missing parent folders are made. Text is UTF-8."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(aside, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
