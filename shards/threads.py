"""Work in threads or processes, results in order, a bounded amount of it under way."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import chain, islice
from multiprocessing import get_context

AHEAD = 4  # items under way or waiting, as a multiple of the workers


def in_threads(function: Callable, items: Iterable, workers: int) -> Iterator:
    """`function` of each item, in the items' order; items are drawn only as fast as results are taken.

    For what releases Python's lock: reading, hashing, codecs. A killed run leaves no children.
    """
    yield from _in_order(ThreadPoolExecutor(max(1, workers)), function, items, workers)


def in_processes(function: Callable, items: Iterable, workers: int) -> Iterator:
    """The same in processes, for work in Python; `function`, items and results are pickled. One item, or one worker,
    needs none."""
    items = iter(items)
    first = list(islice(items, 2))
    items = chain(first, items)
    if workers < 2 or len(first) < 2:
        yield from map(function, items)
    else:
        # not forked: threads of a progress bar may be running
        yield from _in_order(ProcessPoolExecutor(workers, get_context("spawn")), function, items, workers)


def _in_order(executor: Executor, function: Callable, items: Iterable, workers: int) -> Iterator:
    waiting: deque = deque()
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) >= AHEAD * max(1, workers):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)
