"""Short texts that tell whether a file or folder has changed."""

import hashlib
from pathlib import Path
from typing import Final

from sclip_plugin.errors import UsageError
from sclip_plugin.storage import objects
from sclip_plugin.storage.location import RemotePath
from sclip_plugin.storage.urls import WEB, is_url, plain, scheme

HASHED: Final = 4 << 20  # larger files are known by size and time
CONTENTS: Final = ("manifest.json", "sizes.json", "classnames.txt", "open_clip_config.json")  # tell a folder's contents


def fingerprint(text: str) -> str:
    """A short text that changes with the file or folder of that name, or with a folder of a store; "" for what is none.

    Raises:
        DataError: a store does not answer.
    """
    if is_url(text := plain(text)):
        return _remote_fingerprint(text)
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


def _remote_fingerprint(url: str) -> str:
    """What tells the content of a folder of a store: the names and sizes in it, by one listing, and its tables."""
    folder = RemotePath(url.rstrip("/"))
    if scheme(url) in WEB:
        return ""
    try:
        entries = objects.listed(folder.url)
        known = [folder / one.name for one in entries if one.name in CONTENTS]
        above = folder.parent / "manifest.json"
        known += [above] if entries and above.is_file() else []
        names = [f"{one.name} {one.size}" for one in entries if not one.folder]
        return hashlib.sha256("\n".join([*names, *(one.read_text() for one in known)]).encode()).hexdigest()[:16]
    except (OSError, UsageError, ValueError):
        return ""
