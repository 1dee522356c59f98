"""The open_clip releases that a patch is known for, by the SHA-256 of their files (`releases.json`)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
TABLE = FOLDER / "releases.json"


def sha256(data: bytes) -> str:
    """Hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Release:
    """One patch and the releases that it fits.

    Attributes:
        versions: open_clip_torch versions whose `open_clip_train` is the same.
        patch: file name, beside this module.
        stock: path → SHA-256 of every file of `open_clip_train` as released.
        patched: path → SHA-256 of the files that the patch changes or adds, in the order in which they are written:
            imported before importing, so that no moment's tree fails to import.
    """

    versions: tuple[str, ...]
    patch: str
    stock: Mapping[str, str]
    patched: Mapping[str, str]

    @property
    def path(self) -> Path:
        """Where the patch is."""
        return FOLDER / self.patch


def releases() -> list[Release]:
    """All that are known, oldest first."""
    entries = json.loads(TABLE.read_text())
    return [Release(**{**entry, "versions": tuple(entry["versions"])}) for entry in entries]


def release_of(version: str) -> Release | None:
    """The entry for this version of open_clip_torch, or None."""
    return next((release for release in releases() if version in release.versions), None)
