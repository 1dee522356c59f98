"""Objects and folders of a store by their URLs: looking, listing, reading, sending, removing."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from sclip_plugin.storage.patience import ANSWER_SECONDS, ShortBody, ask
from sclip_plugin.storage.urls import WEB, filesystem, scheme

LISTING_SECONDS: Final = 10 * ANSWER_SECONDS  # ours: a listing is many answers, of some thousand names each
SENT_AT_LEAST: Final = 4 << 20  # ours: bytes that are sent in the time of an answer, or the way is blocked


class Entry(NamedTuple):
    """Something in a folder of a store.

    Attributes:
        name: its last part.
        size: bytes; None of a folder, and where the store does not say.
        folder: whether it is one.
    """

    name: str
    size: int | None
    folder: bool


def look(url: str) -> Entry | None:
    """What is at a URL; None where nothing is.

    Raises:
        OSError: the store gives no access.
        StoreDown: the store does not answer.
    """
    try:
        return _entry(ask(url, "info"))
    except FileNotFoundError:
        return None


def size(url: str) -> int | None:
    """The length of an object in bytes; None where its server does not say.

    Raises:
        OSError: there is no such object, or no access.
        StoreDown: the store does not answer.
    """
    return _entry(ask(url, "info")).size


def listed(folder: str) -> list[Entry]:
    """What is in a folder, sorted by name; of many objects the store sends some thousand names an answer.

    Raises:
        OSError: there is no such folder, or no access.
        StoreDown: the store does not answer.
    """
    system, path = filesystem(folder)
    system.invalidate_cache(path)  # what was listed before may have changed
    if scheme(folder) in WEB:
        folder = f"{folder.rstrip('/')}/"  # the folder's own page; its links are relative to it
    found: list[dict[str, Any]] = ask(folder, "ls", detail=True, seconds=LISTING_SECONDS)
    system.invalidate_cache(path)  # which holds a record of each object
    itself = [one for one in found if str(one["name"]).rstrip("/") == path.rstrip("/")]
    if itself and len(itself) == len(found) and itself[0].get("type") == "file" and itself[0].get("size"):
        raise NotADirectoryError(f"{folder}: an object, not a folder")
    return sorted(_entry(one) for one in found if one not in itself)  # an empty object may stand for a folder


def read(url: str, start: int = 0, stop: int | None = None) -> bytes:
    """The bytes start … stop-1 of an object, or all from start on.

    Raises:
        OSError: there is no such object, or no access.
        StoreDown: the store does not answer, or its answers end too early.
    """
    if start == 0 and stop is None:
        return ask(url, "cat_file")
    if stop is not None and stop <= start:
        return b""
    return ask(url, "cat_file", _whole(stop - start) if stop is not None else None, start=start, end=stop)


def put(url: str, file: Path) -> None:
    """Send a file; the object has the file's length afterwards.

    Raises:
        OSError: the store gives no access.
        StoreDown: the store does not answer, or does not get the whole file.
    """
    length = file.stat().st_size

    def check(_: object) -> None:
        system, path = filesystem(url)
        system.invalidate_cache(path.rpartition("/")[0])
        there = size(url)
        if there != length:
            raise ShortBody(f"the store has {there} of {length} bytes")

    seconds = ANSWER_SECONDS * (1 + length / SENT_AT_LEAST)
    ask(url, "put_file", check, source=str(file), seconds=seconds)


def create(url: str, data: bytes) -> None:
    """Send a few bytes as an object where there is none; one that is there stays, if the store can look by itself.

    Whoever must know whose object is there afterwards reads it.

    Raises:
        OSError: the store gives no access.
        StoreDown: the store does not answer.
    """
    try:
        ask(url, "pipe_file", data=data, mode="create")
    except FileExistsError:
        pass
    except PermissionError:
        raise
    except OSError:  # the store, or its package, does not know this mode
        replace(url, data)


def replace(url: str, data: bytes) -> None:
    """Send a few bytes as an object, in place of one that is there.

    Raises:
        OSError: the store gives no access.
        StoreDown: the store does not answer.
    """
    ask(url, "pipe_file", data=data)


def remove(url: str) -> None:
    """Remove an object; nothing where there is none.

    Raises:
        OSError: the store gives no access.
        StoreDown: the store does not answer.
    """
    with suppress(FileNotFoundError):
        ask(url, "rm_file")


def _whole(length: int) -> Callable[[bytes], None]:
    def check(data: bytes) -> None:
        if len(data) < length:
            raise ShortBody(f"the answer ends after {len(data)} of {length} bytes")

    return check


def _entry(about: dict[str, Any]) -> Entry:
    folder = about.get("type") == "directory"
    length = about.get("size")
    name = str(about["name"]).rstrip("/").rpartition("/")[2]
    return Entry(name, int(length) if length is not None and not folder else None, folder)
