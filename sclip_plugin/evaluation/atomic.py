"""Writing a small file so that it is whole or absent."""

import os
from pathlib import Path


def write_text(path: str | Path, text: str) -> None:
    """Write beside `path`, flush to disk, rename; missing parent folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(aside, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
