"""A folder that holds open_clip_train: which release it is, and which of its files are stock, patched or neither."""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sclip_plugin.errors import DataError
from sclip_plugin.patches.releases import Release, release_of, releases, sha256

STOCK, PATCHED, HALF, MODIFIED = "stock", "patched", "half-applied", "modified"
VERSION = re.compile(rb"""^__version__\s*=\s*['"]([^'"]+)['"]""", re.M)


@dataclass(frozen=True)
class Tree:
    """The files that a release and its patch name, as they were read once.

    Attributes:
        root: the folder that holds `open_clip_train` (site-packages, or `src` of a source tree).
        version: the version of open_clip_torch that it says.
        release: the entry for that version.
        files: contents by path; None where there is no such file.
    """

    root: Path
    version: str
    release: Release
    files: dict[str, bytes | None]

    def state_of(self, path: str) -> str:
        """A file's state: STOCK, PATCHED or MODIFIED. One that the patch adds is STOCK where it is absent."""
        data = self.files[path]
        found = None if data is None else sha256(data)
        if found == self.release.stock.get(path):
            return STOCK
        return PATCHED if found is not None and found == self.release.patched.get(path) else MODIFIED

    @property
    def modified(self) -> list[str]:
        """Files that are neither as released nor as patched."""
        return [path for path in self.files if self.state_of(path) == MODIFIED]

    @property
    def state(self) -> str:
        """The state of the files that the patch touches: STOCK, PATCHED, HALF or MODIFIED."""
        found = {self.state_of(path) for path in self.release.patched}
        if MODIFIED in found:
            return MODIFIED
        return found.pop() if len(found) == 1 else HALF


def find_root(target: str | None) -> Path:
    """The folder that holds `open_clip_train`: `target` or its `src`; without a target, where Python finds it.

    Raises:
        DataError: no such folder holds it.
    """
    if target is None:
        spec = find_spec("open_clip_train")
        if spec is None or spec.origin is None:
            raise DataError("open_clip_train is not installed here; --target DIR names the folder that holds it")
        return Path(spec.origin).parent.parent
    for root in (Path(target), Path(target) / "src"):
        if (root / "open_clip_train" / "main.py").is_file():
            return root
    raise DataError(f"--target {target}: holds no open_clip_train (it must be site-packages or a source tree)")


def read_tree(target: str | None) -> Tree:
    """Look at a tree; nothing of it is imported.

    Raises:
        DataError: there is no open_clip_train, or no patch is known for the release.
    """
    root = find_root(target)
    version = version_of(root)
    release = release_of(version)
    if release is None:
        known = ", ".join(version for release in releases() for version in release.versions)
        raise DataError(f"{root}: open_clip_torch {version} is not a release that a patch is known for ({known})")
    paths = {**release.stock, **release.patched}
    return Tree(root, version, release, {path: _read(root / path) for path in paths})


def version_of(root: Path) -> str:
    """The version of open_clip_torch that `open_clip/version.py` says.

    Raises:
        DataError: it says none.
    """
    path = root / "open_clip" / "version.py"
    found = VERSION.search(_read(path) or b"")
    if found is None:
        raise DataError(f"{path}: says no version, so the release is unknown")
    return found[1].decode()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
