"""Which pictures look alike, and groups of things that belong together.

Legend: N pictures, F values of a fingerprint.
"""

from collections.abc import Hashable, Iterable, Iterator

import numpy as np
from PIL import Image

SMALL = 16  # pixels of a side of the picture that is compared
ALIKE = 0.12  # of the ink: below it pairs were the same drawing with a detail changed, above it ever fewer (looked at)


def fingerprint(picture: Image.Image) -> np.ndarray:
    """The ink of a picture on white, made small.

    Args:
        picture: RGB.

    Returns:
        float32 (F,), 0 where the picture is white, at most 1.
    """
    small = picture.resize((SMALL, SMALL), Image.Resampling.BOX)
    return 1 - np.asarray(small, dtype=np.float32).ravel() / 255


def pairs(prints: np.ndarray, limit: float = ALIKE) -> Iterator[tuple[int, int]]:
    """The pairs of pictures that differ by less than `limit` of the ink of the darker one.

    Args:
        prints: (N, F), fingerprints of pictures of which none is white.
        limit: L2 norm of the difference, in L2 norms of the larger fingerprint.

    Yields:
        (i, j) with i < j.
    """
    norms = np.linalg.norm(prints, axis=1)
    for first in range(0, len(prints), 1000):
        rows = slice(first, first + 1000)
        squares = norms[rows, None] ** 2 + norms[None] ** 2 - 2 * prints[rows] @ prints.T
        near = squares < (limit * np.maximum(norms[rows, None], norms[None])) ** 2
        for i, j in zip(*np.nonzero(near)):
            if first + i < j:
                yield int(first + i), int(j)


def groups(number: int, keys: Iterable[Hashable], alike: Iterable[tuple[int, int]]) -> list[int]:
    """Put together what has the same key or is alike, directly or by a way round.

    Args:
        number: of things.
        keys: one of each thing.
        alike: pairs of things.

    Returns:
        for each thing, the first thing of its group.
    """
    first = list(range(number))

    def root(one: int) -> int:
        while first[one] != one:
            first[one] = first[first[one]]
            one = first[one]
        return one

    def join(one: int, other: int) -> None:
        low, high = sorted((root(one), root(other)))
        first[high] = low

    seen: dict[Hashable, int] = {}
    for one, key in enumerate(keys):
        join(one, seen.setdefault(key, one))
    for one, other in alike:
        join(one, other)
    return [root(one) for one in range(number)]
