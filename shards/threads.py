"""Work in threads, results in order, a bounded amount of it under way."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

AHEAD = 4  # items under way or waiting, as a multiple of the workers


def in_threads(function: Callable, items: Iterable, workers: int) -> Iterator:
    """`function` of each item, in the items' order; items are drawn only as fast as results are taken.

    Threads, not processes: reading, hashing and codecs all release Python's lock, and a killed run leaves no children.
    """
    executor = ThreadPoolExecutor(max(1, workers))
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
