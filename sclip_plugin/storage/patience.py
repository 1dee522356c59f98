"""Requests to a store, repeated with growing pauses where they fail; no request waits for ever.

What is hopeless (no such object, no access) fails at once, with an `OSError`. What may pass (no answer, a server that
is busy, a body that ends too early) is asked for again, logged, and counted (`take_troubles`); where it does not pass,
the error is a `StoreDown`, which is a `DataError`, so that a command and a training run end with one line.
"""

import errno
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, TypeVar

from sclip_plugin.errors import DataError, SClipError
from sclip_plugin.storage.urls import filesystem

T = TypeVar("T")

ANSWER_SECONDS = 30.0  # ours: after which a request is given up; the packages of most stores have limits below it
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # ours: seconds before each repetition; a minute in all
SLOW_SECONDS = 5.0  # ours: an answer that takes longer is told, since packages repeat requests by themselves
REPEATED, SLOW = "request repeated", "slow answer"

_troubles: Counter[str] = Counter()  # of this process, by `REPEATED` and `SLOW`

_HOPELESS: Final = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    FileExistsError,
    ImportError,
    NotImplementedError,
    LookupError,
    TypeError,
    AttributeError,
    ValueError,
    SClipError,
)
_WITHOUT_ACCESS: Final = ("Credential", "Param", "Profile", "Refresh")  # in names of errors of the stores' packages
_MAY_PASS: Final = (408, 425, 429)  # of the statuses 400 to 499


class StoreDown(DataError):
    """A store that gives no answer, however often it is asked."""


class ShortBody(OSError):
    """An answer that ends before its end."""


def take_troubles() -> Counter[str]:
    """How often this process has had to wait for a store since this was last asked, by `REPEATED` and `SLOW`."""
    found = _troubles.copy()
    _troubles.clear()
    return found


def ask(
    url: str,
    name: str,
    check: Callable[[T], None] | None = None,
    source: str | None = None,
    seconds: float | None = None,
    pauses: tuple[float, ...] | None = None,
    data: bytes | None = None,
    **arguments: object,
) -> T:
    """What a method of the URL's filesystem returns, asked for again where it fails.

    Args:
        url: the object or folder; its name in the filesystem is the method's first argument.
        name: of the method (`info`, `ls`, `cat_file`, `put_file`, …).
        check: looks at the answer; raises where it must be asked for again.
        source: the method's argument before that one, if it has one.
        seconds: after which a try is given up; None: `ANSWER_SECONDS`.
        pauses: seconds before each repetition; None: `PAUSES`.
        data: the method's argument after the name, if it has one; packages call it differently.
        arguments: the method's other ones.

    Raises:
        OSError: the store has no such object, or gives no access.
        StoreDown: the store gave no answer to any try.
        UsageError, DataError: as `urls.filesystem` does.
    """
    limit = seconds or ANSWER_SECONDS
    pauses = PAUSES if pauses is None else pauses
    before, after = (source,) if source else (), (data,) if data is not None else ()
    for pause in (*pauses, None):
        try:
            return _asked(url, name, check, before, after, limit, arguments)
        except _HOPELESS as error:
            raise _plain(url, error) from None
        except Exception as error:  # every package has errors of its own
            if _refused(error):
                raise _plain(url, error) from None
            if pause is None:
                tries = f"{len(pauses) + 1} times" if pauses else "once"
                raise StoreDown(f"{url}: the store does not answer, asked {tries}: {words(error, limit)}") from None
            _troubles[REPEATED] += 1
            logging.warning(f"sclip_plugin: {url}: {words(error, limit)}; asked again in {pause:g} s")
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _asked(
    url: str,
    name: str,
    check: Callable[[T], None] | None,
    before: tuple[str, ...],
    after: tuple[bytes, ...],
    seconds: float,
    arguments: dict[str, object],
) -> T:
    """One try."""
    from fsspec.asyn import AsyncFileSystem, sync

    system, path = filesystem(url)
    began = time.monotonic()
    if isinstance(system, AsyncFileSystem):
        found: T = sync(system.loop, getattr(system, f"_{name}"), *before, path, *after, timeout=seconds, **arguments)
    else:
        found = getattr(system, name)(*before, path, *after, **arguments)
    if check is not None:
        check(found)
    if (took := time.monotonic() - began) > SLOW_SECONDS * max(1, seconds / ANSWER_SECONDS):
        _troubles[SLOW] += 1
        logging.warning(f"sclip_plugin: {url}: the store took {took:.0f} s to answer")
    return found


def _refused(error: Exception) -> bool:
    """Whether a store has answered, and has said no."""
    if _is_taken(error) or getattr(error, "errno", None) == errno.ENOSYS:  # there is an object; an unknown condition
        return True
    if any(part in type(error).__name__ for part in _WITHOUT_ACCESS):
        return True
    status = getattr(error, "status", None) or getattr(error, "code", None)
    status = status or getattr(getattr(error, "response", None), "status_code", None)
    return isinstance(status, int) and 400 <= status < 500 and status not in _MAY_PASS


def _is_taken(error: Exception) -> bool:
    """Whether an object was not created because there is one; S3 servers say so in more ways than s3fs knows."""
    answer = getattr(error.__cause__, "response", None)
    refused = isinstance(answer, dict) and answer.get("Error", {}).get("Code") == "PreconditionFailed"
    return isinstance(error, FileExistsError) or refused


def _plain(url: str, error: Exception) -> Exception:
    """An error of any package as one of Python's own, or of ours."""
    if isinstance(error, SClipError):
        return error
    if _is_taken(error):
        return FileExistsError(f"{url}: there is such an object")
    kinds = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
    kind = next((kind for kind in kinds if isinstance(error, kind)), OSError)
    return kind(f"{url}: {'no such object' if kind is FileNotFoundError else words(error)}")


def words(error: Exception, limit: float = ANSWER_SECONDS) -> str:
    """An error on one line; what it is where it says nothing."""
    if isinstance(error, TimeoutError) or type(error).__name__ == "FSTimeoutError":
        return f"no answer in {limit:g} s" if not str(error) else " ".join(str(error).split())
    return " ".join(str(error).split()) or type(error).__name__
