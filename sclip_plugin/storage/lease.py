"""A lease on a folder of a store, where no lock is to be had: an object that names its holder, who renews it.

A store drops nothing when a process ends, so that a lease ends by itself: one that is not renewed for
`EXPIRES_SECONDS` is dead, and so is one whose process has ended on this machine. Clocks of two machines may differ;
a lease that looks dead by its date is therefore watched for a while before it is taken over. A holder that has not
been able to renew for that long, or that finds another's name, writes nothing any more (`check`).

What this does not promise: nothing in a store keeps an object from being written. Where the store creates an object
only if there is none (S3 does, by fsspec's mode "create"), two that begin at the same moment are told apart at once;
elsewhere one of them notices at its next renewal.
"""

import json
import logging
import os
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Final

from sclip_plugin.errors import DataError, SClipError, UsageError
from sclip_plugin.locking import alive
from sclip_plugin.storage import objects
from sclip_plugin.storage.patience import StoreDown, ask

RENEW_SECONDS: Final = 30.0  # ours, like the next ones: between two renewals
EXPIRES_SECONDS: Final = 180.0  # without a renewal; five may fail
WATCH_SECONDS: Final = 75.0  # for which a lease must not change before it is taken over: two renewals and a half
SETTLE_SECONDS: Final = 2.0  # after which a lease that was taken over is read back, since several may do that at once
LONGEST: Final = 4096  # bytes of the object; it has some 300
TRIES: Final = 3  # to get a lease whose holder is just ending


@dataclass(frozen=True)
class Clock:
    """The time, and waiting for it to pass.

    Attributes:
        now: returns seconds since 1970, which other machines can compare.
        ticks: returns seconds that nobody sets.
        sleep: waits for so many seconds.
    """

    now: Callable[[], float] = time.time
    ticks: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep


@dataclass(frozen=True)
class Holder:
    """What the object says.

    Attributes:
        host: the name of the holder's machine, for messages.
        place: tells machines, their starts and their containers apart; where two are equal, so are process numbers.
        pid: the holder's process.
        token: tells two holders apart.
        since: seconds since 1970 at which the lease was taken.
        renewed: seconds since 1970 at which it was last renewed.
    """

    host: str
    place: str
    pid: int
    token: str
    since: float
    renewed: float

    def told(self) -> str:
        return f"process {self.pid} on {self.host}, since {_utc(self.since)}"

    def ended(self) -> bool:
        """Whether its process is known to have ended."""
        return os.name == "posix" and self.place == _place() and not alive(self.pid)  # elsewhere only time tells


class Lease:
    """One holder's lease; `lease` takes it, renews it and gives it back.

    Args:
        folder: URL of the folder that it stands for.
        url: of the object.
        busy: begins the message where another one holds it.
        clock: the time.
    """

    def __init__(self, folder: str, url: str, busy: str, clock: Clock) -> None:
        self.folder, self.url, self._busy, self._clock = folder, url, busy, clock
        self._token, self._since = secrets.token_hex(16), clock.now()
        self._renewed = clock.ticks()
        self._lost = ""
        self._mutex = threading.Lock()  # a renewal must not come after the end

    def take(self) -> None:
        """Take the lease, over from a dead holder where there is one.

        Raises:
            UsageError: another process holds it; says who.
            DataError: the store does not take it, or the object is something else.
        """
        for _ in range(TRIES):
            self._renewed = self._clock.ticks()
            if (found := self._read()) is None:
                objects.create(self.url, self._content())
            else:
                self._take_over(found)
            if (now := self._read()) is not None:
                self._refuse_others(_holder(self.url, now))
                return
        raise UsageError(self._busy)

    def _take_over(self, found: bytes) -> None:
        """Put our name into the place of another's, who must be dead."""
        other = _holder(self.url, found)
        if not other.ended():
            if abs(self._clock.now() - other.renewed) < EXPIRES_SECONDS:
                self._refuse_others(other)
            logging.warning(
                f"sclip_plugin: {self.url}: the lease of {other.told()}, was last renewed at {_utc(other.renewed)}; "
                f"it is watched for {WATCH_SECONDS:g} s, then taken over"
            )
            self._clock.sleep(WATCH_SECONDS)
            now = self._read()
            if now is not None and now != found:
                self._refuse_others(_holder(self.url, now))
        self._renewed = self._clock.ticks()
        objects.replace(self.url, self._content())
        self._clock.sleep(SETTLE_SECONDS)

    def _refuse_others(self, there: Holder) -> None:
        if there.token == self._token:
            return
        dead = _utc(there.renewed + EXPIRES_SECONDS)
        hint = "" if there.place == _place() else f"; if it was killed, this command goes on there after {dead}"
        raise UsageError(f"{self._busy}: {there.told()}{hint}")

    def renew(self) -> None:
        """Write the time into the object, if it still has our name; where the store does not answer, nothing."""
        with self._mutex:
            if self._lost:
                return
            began = self._clock.ticks()
            try:
                found = self._read(once=True)
                if found is None:
                    self._lost = "its lease was removed"
                elif (there := _holder(self.url, found)).token != self._token:
                    self._lost = f"another sclip convert or sclip split has taken over there: {there.told()}"
                else:
                    ask(self.url, "pipe_file", pauses=(), data=self._content())
                    self._renewed = began
            except (SClipError, OSError) as error:
                logging.warning(f"sclip_plugin: not renewed: {error}")

    def check(self) -> None:
        """Let go on who still holds the lease.

        Raises:
            DataError: the lease is another's, or it could not be renewed for so long that it may be.
        """
        if not self._lost and self._clock.ticks() - self._renewed > EXPIRES_SECONDS:
            self._lost = f"its lease could not be renewed for {EXPIRES_SECONDS:g} s"
        if self._lost:
            raise DataError(f"{self.folder}: this run stops: {self._lost}")

    def give_back(self) -> None:
        """Remove the object, if it still has our name; where that fails, it is logged, and the lease ends by itself."""
        with self._mutex:
            try:
                found = self._read()
                if found is not None and _holder(self.url, found).token == self._token:
                    objects.remove(self.url)
            except (SClipError, OSError) as error:
                logging.warning(f"sclip_plugin: not removed: {error}")

    def _read(self, once: bool = False) -> bytes | None:
        try:
            # a range, since s3fs looks into its listings for the length of what is read whole
            found: bytes = ask(self.url, "cat_file", pauses=() if once else None, start=0, end=LONGEST)
        except FileNotFoundError:
            return None
        return found

    def _content(self) -> bytes:
        holder = Holder(
            socket.gethostname(), _place(), os.getpid(), self._token, self._since, max(self._since, self._clock.now())
        )
        return json.dumps(asdict(holder), indent=1).encode()


_held: list[Lease] = []  # by this process


@contextmanager
def lease(folder: str, url: str, busy: str, clock: Clock | None = None) -> Iterator[Lease]:
    """Hold the lease of a folder while the block runs; a thread renews it.

    Args:
        folder: the folder's URL.
        url: of the object that stands for the lease.
        busy: begins the message where another process holds it.
        clock: the time; None: this machine's.

    Raises:
        UsageError: another process holds it; nothing has been changed then.
        DataError: the store does not take it.
    """
    held = Lease(folder, url, busy, clock or Clock())
    try:
        held.take()
    except OSError as error:
        raise DataError(str(error)) from None
    _held.append(held)
    over = threading.Event()
    threading.Thread(target=_renew, args=(held, over), daemon=True).start()
    try:
        yield held
    except StoreDown:  # which would keep us waiting once more; the lease ends with this process
        _held.remove(held)
        over.set()
        raise
    except BaseException:
        _end(held, over)
        raise
    else:
        _end(held, over)


def _end(held: Lease, over: threading.Event) -> None:
    _held.remove(held)
    over.set()
    held.give_back()


def _renew(held: Lease, over: threading.Event) -> None:
    while not over.wait(RENEW_SECONDS):
        held.renew()


def check(url: str) -> None:
    """Called before something is written or removed in a store: whether this process may still do that.

    Raises:
        DataError: it had the lease of the folder, and has lost it.
    """
    for held in _held:
        if url.startswith(f"{held.folder}/"):
            held.check()


def _holder(url: str, content: bytes) -> Holder:
    """What an object says.

    Raises:
        DataError: it is no lease.
    """
    try:
        about = json.loads(content)
        return Holder(
            str(about["host"]),
            str(about["place"]),
            int(about["pid"]),
            str(about["token"]),
            float(about["since"]),
            float(about["renewed"]),
        )
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError):
        raise DataError(f"{url}: damaged, or no lease; remove it if no sclip is at work there") from None


def _place() -> str:
    """Where process numbers mean the same: this start of this machine, and within it this container."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return f"{socket.gethostname()} {uuid.getnode():x}"


def _utc(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "a date that is none"
