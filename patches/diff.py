"""Unified diffs on files held in memory: patch-ng works in a folder of its own, never in the tree that is patched."""

import difflib
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sclip_plugin.errors import DataError

if TYPE_CHECKING:
    from patch_ng import PatchSet


def apply_diff(patch: Path, files: Mapping[str, bytes], reverse: bool = False) -> dict[str, bytes]:
    """What the patch makes of some files. Its sections for other files are left out, but files that it adds are made.

    Args:
        patch: a unified diff, whose sections follow one another and may change one file several times.
        files: contents by path, which is as in the patch without `a/`.
        reverse: undo the patch instead, on files that it changes.

    Returns:
        The new contents by path.

    Raises:
        DataError: patch-ng is not installed, or the patch does not fit.
    """
    changes = _read(patch)
    added = {_path(item.target) for item in changes.items if item.source == b"/dev/null"}
    wanted = set(files) if reverse else set(files) | added
    changes.items = [item for item in changes.items if _path(item.target) in wanted]
    if reverse:
        changes.items.reverse()
    with tempfile.TemporaryDirectory() as folder:
        for path, data in files.items():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_bytes(data)
        if not (changes.revert(root=folder) if reverse else changes.apply(root=folder)):
            raise DataError(f"{patch.name} does not fit these files")
        return {path: (Path(folder) / path).read_bytes() for path in wanted}


def _path(name: bytes) -> str:
    return name.decode()


def _read(patch: Path) -> "PatchSet":
    """The patch as patch-ng reads it."""
    try:
        import patch_ng
    except ImportError:
        raise DataError("applying a patch needs patch-ng: pip install 'sclip-plugin[patch]'") from None
    logging.getLogger("patch_ng").setLevel(logging.CRITICAL)  # the caller says in one line what went wrong
    found = patch_ng.fromfile(str(patch))
    if not found:
        raise DataError(f"{patch.name} is not a unified diff")
    return found


def show(path: str, before: bytes | None, after: bytes | None) -> str:
    """A unified diff of one file for people to read; None stands for a file that is not there."""
    old, new = ((data or b"").decode().splitlines(keepends=True) for data in (before, after))
    names = (f"a/{path}" if before is not None else "/dev/null", f"b/{path}" if after is not None else "/dev/null")
    return "".join(difflib.unified_diff(old, new, *names))
