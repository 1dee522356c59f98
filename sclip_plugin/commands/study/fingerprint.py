"""Short texts that tell whether a file or folder has changed."""

import hashlib
from pathlib import Path
from typing import Final

HASHED: Final = 4 << 20  # larger files are known by size and time
CONTENTS: Final = ("manifest.json", "sizes.json", "classnames.txt", "open_clip_config.json")  # tell a folder's contents


def fingerprint(text: str) -> str:
    """A short text that changes with the file or folder of that name; "" where it names neither."""
    path = Path(text)
    if path.is_file():
        status = path.stat()
        if status.st_size > HASHED:
            return f"{status.st_size} bytes of {status.st_mtime_ns}"
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    if path.is_dir():
        known = [path / name for name in CONTENTS if (path / name).is_file()]
        if path.parent != path and (path.parent / "manifest.json").is_file():
            known.append(path.parent / "manifest.json")
        names = sorted(f"{entry.name} {entry.stat().st_size}" for entry in path.iterdir() if entry.is_file())
        return hashlib.sha256("\n".join([*names, *(fingerprint(str(one)) for one in known)]).encode()).hexdigest()[:16]
    return ""
