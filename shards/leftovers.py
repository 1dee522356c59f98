"""Files that a killed run wrote aside under a hidden name (`.NAME.PID.tmp`) and did not rename."""

import os
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from sclip_plugin.locking import alive

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
        wants = found and any(fnmatchcase(found[1], pattern) for pattern in wanted)
        if found and wants and (alone or not _elsewhere(int(found[2]))):
            path.unlink(missing_ok=True)


def _elsewhere(process: int) -> bool:
    """Whether another process of this number is running, which may still be writing."""
    return process != os.getpid() and alive(process)
