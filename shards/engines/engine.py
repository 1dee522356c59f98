"""What the work on shards asks of an engine."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Calls functions for items, several at a time.

    Attributes:
        remote: whether other machines may do it. Then functions and items are pickled and carry all that they need;
            places in them are URLs, or absolute paths on a disk that all machines share.
        images: how many images one item should hold, so that handing it over costs little beside the work on it.
    """

    @property
    def remote(self) -> bool: ...

    @property
    def images(self) -> int: ...

    @property
    def writers(self) -> "Engine":
        """The engine for items that wait for the disk at their end: where that pays, more of them at a time."""
        ...

    def check(self, asked: Sequence[str]) -> None:
        """See that all who do the work can do it, and see these places.

        Raises:
            UsageError: one of them cannot; names it.
        """
        ...

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """`function` of each item, in the items' order.

        Items are drawn only as fast as results are taken, so that a bounded number of them is in memory. What the
        function raises is raised here; what the engine itself loses, a machine for instance, is done again.

        Raises:
            SClipError: the function raised it, or an item was lost several times.
        """
        ...
