"""Files that a killed run wrote aside under a hidden name (`.NAME.PID.tmp`) and did not rename."""

import os
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

_ASIDE = re.compile(r"\.(.+)\.(\d{1,10})\.tmp")


def remove_leftovers(folder: Path, patterns: Iterable[str], alone: bool = False) -> None:
    """Remove what processes that have ended left of the files with such names; there may be no such folder.

    Args:
        folder: where to look, not below it.
        patterns: names, with `*` for anything.
        alone: whether nobody else can be writing there, because the caller holds a lock; else what a running process
            may be writing stays.
    """
    wanted = tuple(patterns)
    for path in folder.glob(".*.tmp"):
        found = _ASIDE.fullmatch(path.name)
        if found and any(fnmatchcase(found[1], pattern) for pattern in wanted) and (alone or not _alive(int(found[2]))):
            path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    """Whether another process of this number is running, which may still be writing."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's, or no number of a process
        return True
    return True
