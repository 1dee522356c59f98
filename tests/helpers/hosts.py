"""Copies of the installed open_clip to patch: the installed one is never touched."""

import importlib.metadata
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from sclip_plugin import cli
from sclip_plugin.patches import releases

INSTALLED = Path(find_spec("open_clip_train").origin).parent.parent
VERSION = importlib.metadata.version("open_clip_torch")
RELEASE = releases.release_of(VERSION)
TOUCHED = tuple(RELEASE.patched) if RELEASE else ()  # in the order in which they are written

needs_patch = pytest.mark.skipif(RELEASE is None, reason=f"no patch is known for open_clip_torch {VERSION}")


def copy_host(folder: Path, importable: bool = False) -> Path:
    """The installed `open_clip` and `open_clip_train`; without the large data files unless it is to be imported."""
    for package in ("open_clip", "open_clip_train"):
        ignored = shutil.ignore_patterns("__pycache__", *([] if importable else ["*.json", "*.gz"]))
        shutil.copytree(INSTALLED / package, folder / package, ignore=ignored)
    return folder


def patch(action: str, target: Path, *flags) -> int:
    """`sclip patch`; returns the exit status."""
    return cli.main(["patch", action, "--target", str(target), *flags])


def patched_copy(folder: Path, importable: bool = False) -> Path:
    """The same, patched; a folder for PYTHONPATH where it is importable."""
    if RELEASE is None:
        pytest.skip(needs_patch.kwargs["reason"])
    copy_host(folder, importable)
    assert patch("apply", folder) == 0
    return folder


def snapshot(root: Path) -> dict:
    """Everything in the tree: content, mode and time of change."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
        for path in files
    }


def contents(root: Path) -> dict:
    return {path: entry[0] for path, entry in snapshot(root).items()}
