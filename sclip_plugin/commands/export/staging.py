"""The output folder of an export: what may be there before, a folder beside it to work in, and making it appear."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sclip_plugin.atomic import write_atomic
from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.evaluation.weights import CONFIG
from sclip_plugin.locking import locked

WEIGHTS: Final = "open_clip_model.safetensors"  # the name that open_clip looks for first
ONNX_FILES: Final = ("image_tower.onnx", "text_tower.onnx")
CARD: Final = "README.md"
#: what a card of ours holds; a README.md without it is the user's own
CARD_MARK: Final = "<!-- sclip export writes this file again. To keep a text of yours, remove this line. -->"
_WORK: Final = ".export"  # the folder, in the output folder, that holds the files until they are whole


def check_output(out: Path, overwrite: bool) -> None:
    """Refuse an output folder that holds something else, before anything loads.

    Raises:
        UsageError: it is a file, or holds an export and `overwrite` is False, or something that is no export.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file")
    there = [path for path in out.iterdir() if path.name != _WORK and not _lock_of(path)] if out.exists() else []
    if there and not (out / CONFIG).is_file():
        raise UsageError(f"--out {out}: holds something that is no export; choose another folder")
    if there and not overwrite:
        raise UsageError(f"--out {out}: a model is there; choose another folder, or pass --overwrite")


def _lock_of(path: Path) -> bool:
    return path.name == f"{_WORK}.lock"


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """A folder on the disk of `out` whose files are to appear there; it and an `out` that stays empty are removed.

    Raises:
        UsageError: another process is exporting there.
        DataError: the folder cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with locked(out / f"{_WORK}.lock", f"--out {out}: another sclip export is writing there"):
            work = out / _WORK
            shutil.rmtree(work, ignore_errors=True)  # of a killed export
            work.mkdir()
            try:
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise DataError(f"--out {error.filename or out}: {error.strerror or error}") from None
    finally:
        _remove_if_empty(out)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def publish(work: Path, out: Path, card: str, notes: list[str]) -> tuple[str, ...]:
    """Move the files of `work` to `out`, so that `out` is a model only once all of them are there.

    What makes a folder a model is its configuration, which goes first where there is one and comes last.

    Args:
        work: the folder of `staging`.
        out: the output folder.
        card: the text of the model card.
        notes: gets a line where a README.md of the user's own is kept.

    Returns:
        The names of what was written, sorted.
    """
    names = sorted(path.name for path in work.iterdir())
    for name in names:
        with open(work / name, "rb") as file:
            os.fsync(file.fileno())
    own = out / CARD if _is_own(out / CARD) else None
    for old in (CONFIG, WEIGHTS, *ONNX_FILES):
        (out / old).unlink(missing_ok=True)
    if own:
        notes.append(f"{own} is yours and is kept")
    else:
        write_atomic(out / CARD, card)
    for name in sorted(names, key=lambda name: name == CONFIG):
        os.replace(work / name, out / name)
    return tuple(sorted([*names, *([] if own else [CARD])]))


def _is_own(path: Path) -> bool:
    return path.exists() and CARD_MARK.encode() not in path.read_bytes()
