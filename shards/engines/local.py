"""Engines of this machine: threads, and processes.

They work in order, and a bounded amount of work is under way.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import get_context
from typing import ClassVar, Final

from sclip_plugin.shards.engines.engine import Item, Result

AHEAD: Final = 4  # items under way or waiting, as a multiple of the workers
IMAGES: Final = 256  # ours


@dataclass(frozen=True)
class _Here:
    """What the engines of this machine share.

    Attributes:
        workers: threads, or processes.
    """

    workers: int = 1
    remote: ClassVar[bool] = False
    images: ClassVar[int] = IMAGES

    def check(self, asked: Sequence[str]) -> None:
        """Nothing: this machine sees what it sees."""


class Threads(_Here):
    """For work that releases Python's lock: reading, hashing, codecs. A killed run leaves no child processes."""

    @property
    def writers(self) -> "Threads":
        """One thread more, since each waits for the disk at the end of its shard."""
        return Threads(self.workers + 1)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """`function` of each item, in the items' order; items are drawn only as fast as results are taken."""
        yield from _in_order(ThreadPoolExecutor(max(1, self.workers)), function, items, self.workers)


class Processes(_Here):
    """For work in Python; functions, items and results are pickled.

    Where there is one worker, or one item, no process is started.
    """

    @property
    def writers(self) -> "Processes":
        """The same."""
        return self

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """As `Threads.map`, but in processes."""
        rest = iter(items)
        first = list(islice(rest, 2))
        everything = chain(first, rest)
        if self.workers < 2 or len(first) < 2:
            yield from map(function, everything)
        else:
            # not forked, since threads of a progress bar may be running
            pool = ProcessPoolExecutor(self.workers, get_context("spawn"))
            yield from _in_order(pool, function, everything, self.workers)


HERE: Final = Threads()  # where the caller names no engine
HERE_IN_PYTHON: Final = Processes()  # the same, for work in Python


def _in_order(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) >= AHEAD * max(1, workers):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)
