"""A lock on a folder, so that two processes do not write into it at the same time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from sclip_plugin.errors import UsageError

TRIES = 100  # ours: to get the lock file of a holder that is just ending


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock file `path`, which is made (with its folder) where it is missing and removed at the end.

    The system drops the lock when the process ends, however it ends: what a killed process left is no obstacle. On a
    system without such locks, nothing is held.

    Args:
        path: the lock file.
        busy: the message where another process holds it.

    Raises:
        UsageError: another process holds it; nothing has been changed then.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    for _ in range(TRIES):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = open(path, "a+")  # noqa: SIM115 (closed below, on every way out)
        except FileNotFoundError:  # its last holder has just removed the folder
            continue
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(busy) from None
            except OSError:  # a file system without locks
                pass
            if not _is(file, path):  # its last holder has just removed the file that we hold
                continue
            try:
                yield
            finally:
                with suppress(OSError):
                    path.unlink()
            return
    raise UsageError(busy)


def _is(file: IO[str], path: Path) -> bool:
    """Whether an opened file still stands under its name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False


def alive(process: int) -> bool:
    """Whether a process of this number is running on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's, or no number of a process
        return True
    return True
