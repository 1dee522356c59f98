"""Calling the program in this process as a shell would: arguments in; exit status, output and errors out."""

import contextlib
import faulthandler
import io
import logging
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

LIMIT = 20  # seconds that a command may take
LAST = 3 * LIMIT  # seconds after which the process is ended, should it hang in native code


class TimeOut(BaseException):
    """A command has taken too long."""


@dataclass(frozen=True)
class Reply:
    """What a command did.

    Attributes:
        status: its exit status; None where it did not end as a command should.
        out: what it printed.
        err: what it wrote to standard error, native libraries included.
        crash: the traceback of an exception that it let through, or "time-out".
        seconds: how long it took.
    """

    status: int | None
    out: str
    err: str
    crash: str
    seconds: float


def call(
    function: Callable[[list[str]], int | None], argv: list[str], folder: Path, *, ascii_only: bool = False
) -> Reply:
    """Call a command's entry point in a folder.

    Args:
        function: takes the arguments and returns the exit status, or exits.
        argv: the arguments.
        folder: the current folder meanwhile; temporary files go to its `tmp`.
        ascii_only: whether standard output takes only ASCII, as with LC_ALL=C.
    """
    _forget_open_files()
    start = time.monotonic()
    with _inside(folder), _captured(ascii_only) as (out, err), _fresh_warnings():
        status, crash = _guarded(function, argv)
    return Reply(status, out[0], err[0], crash, time.monotonic() - start)


def _forget_open_files() -> None:
    """A process of its own has no HDF5 file open; another one may stand under the same path.

    What sets filters of warnings when it is imported is imported here, so that they last longer than one call.
    """
    from sclip_plugin.shards import images, locator  # noqa: F401

    locator.open_hdf5.cache_clear()


def _guarded(function: Callable[[list[str]], int | None], argv: list[str]) -> tuple[int | None, str]:
    def stop(*_: object) -> None:
        raise TimeOut

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    faulthandler.dump_traceback_later(LAST, exit=True)
    try:
        return function(argv) or 0, ""
    except SystemExit as exit:
        return (exit.code if isinstance(exit.code, int) else 0 if exit.code is None else 1), ""
    except TimeOut:
        return None, f"time-out after {LIMIT} s\n{traceback.format_exc(limit=-4)}"
    except BaseException:  # whatever a command lets through is what is looked for
        return None, traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before, temporary = os.getcwd(), tempfile.tempdir
    os.chdir(folder)
    tempfile.tempdir = str(folder / "tmp")
    try:
        yield
    finally:
        os.chdir(before)
        tempfile.tempdir = temporary


@contextlib.contextmanager
def _captured(ascii_only: bool) -> Iterator[tuple[list[str], list[str]]]:
    """Both streams, of Python and of native libraries; the lists get their texts at the end."""
    texts: tuple[list[str], list[str]] = ([], [])
    before = (sys.stdout, sys.stderr)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        saved = [os.dup(1), os.dup(2)]
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.stdout = _text(1, "ascii" if ascii_only else "utf-8", "strict")
        sys.stderr = _text(2, "utf-8", "backslashreplace")
        try:
            yield texts
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(ValueError, OSError):
                    stream.flush()
            sys.stdout, sys.stderr = before
            for number, handle in enumerate(saved, 1):
                os.dup2(handle, number)
                os.close(handle)
            for found, file in zip(texts, (out, err)):
                file.seek(0)
                found.append(file.read().decode("utf-8", "backslashreplace"))
            logging.getLogger().handlers.clear()  # they hold the streams of this call


def _text(number: int, encoding: str, errors: str) -> TextIO:
    return io.TextIOWrapper(os.fdopen(os.dup(number), "wb"), encoding, errors, write_through=True)


@contextlib.contextmanager
def _fresh_warnings() -> Iterator[None]:
    """A warning that was shown once is shown again, as in a process of its own."""
    with warnings.catch_warnings():
        yield
