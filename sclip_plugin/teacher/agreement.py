"""How often the captions of near pairs agree, tried out on the pairs themselves: each in turn is left out.

A pair that is left out stands for an unpaired image whose caption is known. Legend: N pairs, D width of the features,
B pairs in a batch, R pairs that a left-out one may be compared with.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from sclip_plugin.keywords import words

ROWS: Final = 512  # pairs whose similarities are held at a time
DECIMALS: Final = 5  # of a cosine; what is behind them is chance, even between equal images
RAREST: Final = 3  # pairs; a word in so few counts however small the set: a shared word must be in two (ours)

Bag = frozenset[int]  # the numbers of the words, or keywords, of a pair's captions


@dataclass(frozen=True)
class ContentWords:
    """The words of captions that tell one image from another.

    Attributes:
        bags: the content words of each of the N pairs, as numbers.
        common: (word, share of the pairs that have it) of words that are no stop-words but too common, commonest first.
    """

    bags: list[Bag]
    common: list[tuple[str, float]]


def content_words(captions: Sequence[Collection[str]], stop: Set[str], common: float) -> ContentWords:
    """The content words of each pair: no stop-words, numbers or single letters, and nothing that many pairs have.

    Args:
        captions: the captions of each of the N pairs.
        stop: stop-words, split as captions are.
        common: the largest share of the pairs that may have a content word; `RAREST` pairs always may.
    """
    found = [{word for text in texts for word in words(text) if _says(word, stop)} for texts in captions]
    frequency = Counter(word for one in found for word in one)
    most = max(RAREST, common * len(found))
    numbers = {word: number for number, word in enumerate(frequency) if frequency[word] <= most}
    bags = [{numbers[word] for word in one if word in numbers} for one in found]
    left = [(word, count / len(found)) for word, count in frequency.most_common() if count > most]
    return ContentWords([frozenset(bag) for bag in bags], left)


def _says(word: str, stop: Set[str]) -> bool:
    return len(word) > 1 and not word.isdigit() and word not in stop


@dataclass(frozen=True)
class LeaveOneOut:
    """What the other pairs offer to each pair, as if its own caption were hidden. Every array is float64 (N,).

    Attributes:
        right: 1 where the nearest pair agrees with it, else 0.
        right_in_batch: the probability that the nearest pair of a random batch does.
        reachable: 1 where any pair does.
        reachable_in_batch: the probability that any pair of a random batch does.
        chance: the probability that a random pair does.
    """

    right: np.ndarray
    right_in_batch: np.ndarray
    reachable: np.ndarray
    reachable_in_batch: np.ndarray
    chance: np.ndarray


@dataclass(frozen=True)
class Neighbours:
    """The pairs that each pair is compared with, in the order of their similarity.

    Attributes:
        features: float32 (N, D), L2-normalised.
        groups: int64 (N,); pairs of one group are not compared. Every pair must have one of another group.
    """

    features: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.features)

    def rows(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each pair, the numbers of the R others that it is compared with, and its cosines with them.

        Both are (R,), the most similar first. R differs from pair to pair where groups do.
        """
        for first in range(0, len(self), ROWS):
            cosines = self.features[first : first + ROWS] @ self.features.T
            for row, line in enumerate(cosines, first):
                others = np.flatnonzero(self.groups != self.groups[row])
                order = others[np.argsort(-line[others], kind="stable")]
                yield order, line[order]

    def nearest(self) -> tuple[np.ndarray, np.ndarray]:
        """The rounded cosine of each pair with the nearest one that it is compared with, float32 (N,), and which it is.

        The latter are int64 (N,).
        """
        cosines, numbers = zip(*((cosines[0], order[0]) for order, cosines in self.rows()))
        return np.array(cosines).round(DECIMALS), np.array(numbers)


def leave_one_out(neighbours: Neighbours, bags: Sequence[Bag], batch: int) -> LeaveOneOut:
    """Ask of every pair which others agree with it: share a word, or a keyword.

    The figures for batches are exact expectations over all batches of B others, so that nothing is drawn by chance.

    Args:
        neighbours: the N pairs.
        bags: the words, or keywords, of each pair.
        batch: B, pairs in a batch; where there are fewer others, all of them.
    """
    holders = _holders(bags)
    figures = []
    for (order, _), bag in zip(neighbours.rows(), bags):
        agrees = np.zeros(len(bags), dtype=bool)
        for word in bag:
            agrees[holders[word]] = True
        figures.append(_figures(agrees[order], min(batch, len(order))))
    return LeaveOneOut(*np.array(figures, dtype=np.float64).T)


def _holders(bags: Sequence[Bag]) -> dict[int, np.ndarray]:
    """The numbers of the pairs that have a word, for each word."""
    found: dict[int, list[int]] = defaultdict(list)
    for row, bag in enumerate(bags):
        for word in bag:
            found[word].append(row)
    return {word: np.array(rows) for word, rows in found.items()}


def _figures(agrees: np.ndarray, batch: int) -> tuple[float, float, float, float, float]:
    """The entries of a `LeaveOneOut` for one pair: bool (R,), the most similar first, 1 ≤ B ≤ R."""
    others, fitting = len(agrees), int(agrees.sum())
    first = _nearest_of_a_batch(others, batch)
    return (
        float(agrees[0]),
        float(first @ agrees[: len(first)]),
        float(fitting > 0),
        1 - _none_of(others, fitting, batch),
        fitting / others,
    )


@lru_cache(maxsize=128)
def _nearest_of_a_batch(others: int, batch: int) -> np.ndarray:
    """(R − B + 1,): the probability of each rank to be the best in a random batch of B out of R ranks.

    The best is of rank k where k is drawn and the B − 1 others come from the R − 1 − k ranks behind it.
    """
    worse = others - 1 - np.arange(others - batch + 1)
    logs = np.array([_log_choose(int(behind), batch - 1) for behind in worse]) - _log_choose(others, batch)
    return np.exp(logs)


def _none_of(others: int, fitting: int, batch: int) -> float:
    """The probability that a random batch of B out of R holds none of the fitting ones."""
    if others - fitting < batch:
        return 0.0
    return math.exp(_log_choose(others - fitting, batch) - _log_choose(others, batch))


def _log_choose(of: int, some: int) -> float:
    """The logarithm of a binomial coefficient."""
    return math.lgamma(of + 1) - math.lgamma(some + 1) - math.lgamma(of - some + 1)
