"""The open_clip releases that a patch is known for, by the SHA-256 of their files (`releases.json`)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
TABLE = FOLDER / "releases.json"


def sha256(data: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Release:
    """One patch and the releases that it fits.

    Attributes:
        versions: the versions of open_clip_torch whose `open_clip_train` is the same.
        patch: the name of the patch's file, which stands beside this module.
        stock: the SHA-256 of every file of `open_clip_train` as released, by path.
        patched: the SHA-256 of each file that the patch changes or adds, by path, in the order in which they are
            written: a file comes before those that import it, so that the tree can be imported at every moment.
    """

    versions: tuple[str, ...]
    patch: str
    stock: Mapping[str, str]
    patched: Mapping[str, str]

    @property
    def path(self) -> Path:
        """The patch's file."""
        return FOLDER / self.patch


def releases() -> list[Release]:
    """All releases that are known, oldest first."""
    entries = json.loads(TABLE.read_text())
    return [Release(**{**entry, "versions": tuple(entry["versions"])}) for entry in entries]


def release_of(version: str) -> Release | None:
    """The entry for this version of open_clip_torch; None where no patch is known for it."""
    return next((release for release in releases() if version in release.versions), None)
