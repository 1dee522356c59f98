"""Work in threads or processes: results come in order, and a bounded amount of work is under way."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import chain, islice
from multiprocessing import get_context
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD: Final = 4  # items under way or waiting, as a multiple of the workers


def in_threads(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`function` of each item, in the items' order; items are drawn only as fast as results are taken.

    This is for work that releases Python's lock: reading, hashing, codecs. A killed run leaves no child processes.
    """
    yield from _in_order(ThreadPoolExecutor(max(1, workers)), function, items, workers)


def in_processes(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """As `in_threads`, but in processes, for work in Python; `function`, items and results are pickled.

    Where there is one item or one worker, no process is started.
    """
    rest = iter(items)
    first = list(islice(rest, 2))
    everything = chain(first, rest)
    if workers < 2 or len(first) < 2:
        yield from map(function, everything)
    else:
        # not forked, since threads of a progress bar may be running
        yield from _in_order(ProcessPoolExecutor(workers, get_context("spawn")), function, everything, workers)


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
