"""Patching a tree and putting it back: the new contents are worked out and checked first, then renamed into place.

An error leaves the tree as it was. A process killed between two renames leaves a half-applied tree, each file of which
is whole; either command completes it.
"""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sclip_plugin.errors import DataError
from sclip_plugin.patches.diff import apply_diff
from sclip_plugin.patches.releases import sha256
from sclip_plugin.patches.tree import MODIFIED, PATCHED, STOCK, Tree

ORIGINAL = ".sclip-original"  # beside each changed file; `revert` moves it back

Changes = dict[str, bytes | None]  # path → new content, None to remove; in the order in which they are made


def plan_apply(tree: Tree) -> Changes:
    """The changes that patch the tree; none where it is patched.

    Raises:
        DataError: a file is not as released, or patch-ng is missing.
    """
    if tree.modified:
        raise DataError(_refusal(tree, tree.modified))
    release = tree.release
    waiting = [path for path in release.patched if tree.state_of(path) == STOCK]
    if not waiting:
        return {}
    made = apply_diff(release.path, {path: data for path in waiting if (data := tree.files[path]) is not None})
    return _checked(tree, {path: made[path] for path in waiting}, release.patched)


def plan_revert(tree: Tree) -> Changes:
    """The changes that put the release's own files back; none where they are there.

    The kept originals are used; where one is missing or damaged, the patch is undone on the patched file.

    Raises:
        DataError: a file that the patch touches is neither stock nor patched.
    """
    release = tree.release
    if tree.state == MODIFIED:
        raise DataError(_refusal(tree, [path for path in tree.modified if path in release.patched]))
    waiting = [path for path in release.patched if tree.state_of(path) == PATCHED]
    made: Changes = {path: _kept(tree, path) for path in reversed(waiting)}
    lost = [path for path, kept in made.items() if kept is None and path in release.stock]
    if lost:
        patched = {path: data for path in lost if (data := tree.files[path]) is not None}
        made.update(apply_diff(release.path, patched, reverse=True))
    return _checked(tree, made, release.stock)


def _refusal(tree: Tree, paths: list[str]) -> str:
    listed = ", ".join(f"{path} ({'missing' if tree.files[path] is None else 'modified'})" for path in paths)
    return f"{tree.root}: neither as in open_clip_torch {tree.version} nor as patched, so nothing was changed: {listed}"


def _kept(tree: Tree, path: str) -> bytes | None:
    original = tree.root / (path + ORIGINAL)
    data = original.read_bytes() if original.is_file() else None
    return data if data is not None and sha256(data) == tree.release.stock.get(path) else None


def _checked(tree: Tree, changes: Changes, expected: Mapping[str, str]) -> Changes:
    for path, data in changes.items():
        if (None if data is None else sha256(data)) != expected.get(path):
            raise DataError(f"{tree.release.patch} does not give the {path} that is recorded for it")
    return changes


def apply(tree: Tree, changes: Changes) -> None:
    """Make the changes of `plan_apply`; the originals are kept beside the files.

    Raises:
        DataError: the tree cannot be written; nothing was changed.
    """
    kept = {path + ORIGINAL: tree.files[path] for path in changes if tree.files[path] is not None}
    _replace(tree.root, {**kept, **changes}, like={path: path.removesuffix(ORIGINAL) for path in {**kept, **changes}})


def revert(tree: Tree, changes: Changes) -> None:
    """Make the changes of `plan_revert`, then remove what `apply` and Python put beside the files.

    Raises:
        DataError: the tree cannot be written; nothing was changed.
    """
    _replace(tree.root, changes, like={path: path + ORIGINAL for path in changes})
    for path in map(tree.root.joinpath, tree.release.patched):
        original = path.with_name(path.name + ORIGINAL)
        compiled = [] if path.exists() else (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc")
        for leftover in (*filter(Path.exists, [original]), *compiled):
            leftover.unlink()


def _replace(root: Path, changes: Changes, like: dict[str, str]) -> None:
    """Write every new content aside, then rename all in order; an error undoes what was done.

    Args:
        root: the folder that the paths start from.
        changes: the new contents by path.
        like: the path of the file whose mode each new one gets, and its times where the content is the same.
    """
    asides = {path: _beside(root / path, "new") for path in changes}
    saved: dict[str, Path | None] = {}
    try:
        for path, data in changes.items():
            if data is not None:
                _write_aside(asides[path], data, root / like[path])
        for path, data in changes.items():
            saved[path] = _save(root / path)
            if data is None:
                (root / path).unlink(missing_ok=True)
            else:
                os.replace(asides[path], root / path)
    except BaseException as error:
        for path, copy in reversed(saved.items()):
            (root / path).unlink(missing_ok=True) if copy is None else os.replace(copy, root / path)
        if isinstance(error, OSError):
            raise DataError(f"{root / 'open_clip_train'}: {error.strerror or error}; nothing was changed") from None
        raise
    finally:
        for leftover in (root / "open_clip_train").glob(".*.sclip-aside-*"):  # those of a killed process too
            with suppress(OSError):
                leftover.unlink()


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f".{path.name}.sclip-aside-{what}")


def _write_aside(aside: Path, data: bytes, like: Path) -> None:
    with open(aside, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if like.is_file():
        shutil.copymode(like, aside)
        if like.read_bytes() == data:  # an original keeps its times, so that compiled files fit again
            shutil.copystat(like, aside)


def _save(path: Path) -> Path | None:
    """Give a file that is about to be replaced a second name, to put it back from; None where there is no file."""
    if not path.exists():
        return None
    saved = _beside(path, "old")
    saved.unlink(missing_ok=True)  # a killed process left it
    try:
        os.link(path, saved)
    except OSError:  # a file system without hard links
        shutil.copy2(path, saved)
    return saved
