"""From left-out pairs, whose captions are known, to unpaired images, whose captions nobody knows.

Legend: N pairs, U unpaired images, D width of the features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from sclip_plugin.diagnostics.calibration import calibrate
from sclip_plugin.teacher.agreement import DECIMALS, LeaveOneOut

DRAWS: Final = 200  # of the pairs, behind an interval (ours)
INTERVAL: Final = (2.5, 97.5)  # percentiles of the draws
LOWEST: Final = 0.05  # share of the pairs below the similarity that an unpaired image is to reach (ours)
BLOCK: Final = 1024  # unpaired images whose similarities are held at a time


@dataclass(frozen=True)
class Estimate:
    """A share of images, from 0 to 1.

    Attributes:
        pairs: the mean over the pairs, each left out in turn, where the truth is known.
        unpaired: the mean that is expected over the unpaired images: what pairs with as similar a nearest pair have.
        low: the lower end of the 95% interval of `unpaired`, over draws of the pairs, or of their groups.
        high: its upper end.
    """

    pairs: float
    unpaired: float
    low: float
    high: float


@dataclass(frozen=True)
class Gap:
    """How far the unpaired images are from the pairs, by the cosine with the nearest pair.

    Attributes:
        pairs: the median over pairs, each left out in turn.
        unpaired: the median over unpaired images.
        rank: the probability that an unpaired image has a nearer pair than a left-out pair has (the area under the ROC
            curve): 0.5 where both are alike, less where unpaired images are further away.
        beyond: the share of the unpaired images whose nearest pair is further away than that of 95% of the pairs.
    """

    pairs: float
    unpaired: float
    rank: float
    beyond: float


@dataclass(frozen=True)
class Level:
    """How often the lessons of one level of the loss are right: that of captions, or that of keywords.

    Attributes:
        right_in_batch: the nearest pair of a random batch agrees.
        right: the nearest of all pairs does.
        reachable_in_batch: any pair of a random batch does.
        reachable: any pair does.
        chance: the probability that a random pair does.
    """

    right_in_batch: Estimate
    right: Estimate
    reachable_in_batch: Estimate
    reachable: Estimate
    chance: float


def nearest_pairs(unpaired: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rounded cosine of each unpaired image with its nearest pair, (U,), and the number of that pair, int64 (U,).

    Args:
        unpaired: float32 (U, D), L2-normalised.
        pairs: float32 (N, D), the same.
    """
    best, which = [], []
    for first in range(0, len(unpaired), BLOCK):
        cosines = unpaired[first : first + BLOCK] @ pairs.T
        which.append(cosines.argmax(axis=1))
        best.append(cosines.max(axis=1).round(DECIMALS))
    return np.concatenate(best), np.concatenate(which)


def gap_between(pairs: np.ndarray, unpaired: np.ndarray) -> Gap:
    """Compare the similarities to the nearest pair, (N,) of left-out pairs and (U,) of unpaired images."""
    order = np.sort(pairs)
    below = (np.searchsorted(order, unpaired, "left") + np.searchsorted(order, unpaired, "right")) / 2
    lowest = np.quantile(pairs, LOWEST)
    return Gap(
        pairs=float(np.median(pairs)),
        unpaired=float(np.median(unpaired)),
        rank=float(below.mean() / len(pairs)),
        beyond=float((unpaired < lowest).mean()),
    )


@dataclass(frozen=True)
class Similarities:
    """What carries an outcome from the pairs over to the unpaired images.

    Attributes:
        pairs: (N,), the cosine of each pair with the nearest other.
        groups: int64 (N,), the number of its group; the pairs of a group are drawn together.
        unpaired: (U,), the cosine of each unpaired image with its nearest pair.
    """

    pairs: np.ndarray
    groups: np.ndarray
    unpaired: np.ndarray

    def draws(self) -> Iterator[np.ndarray]:
        """The rows of as many groups as there are, drawn with replacement, `DRAWS` times over."""
        rng = np.random.default_rng(0)
        number = int(self.groups.max()) + 1
        for _ in range(DRAWS):
            times = np.bincount(rng.integers(number, size=number), minlength=number)
            yield np.repeat(np.arange(len(self.groups)), times[self.groups])


def level(found: LeaveOneOut, similarities: Similarities) -> Level:
    """The means over the pairs, and what they let expect of the unpaired images.

    Args:
        found: what the other pairs offer to each pair.
        similarities: of the same pairs, and of the unpaired images.
    """
    return Level(
        right_in_batch=estimate(found.right_in_batch, similarities),
        right=estimate(found.right, similarities),
        reachable_in_batch=estimate(found.reachable_in_batch, similarities),
        reachable=estimate(found.reachable, similarities),
        chance=float(found.chance.mean()),
    )


def estimate(outcomes: np.ndarray, similarities: Similarities) -> Estimate:
    """The mean of an outcome over the pairs, and over the unpaired images by calibration.

    Args:
        outcomes: (N,), what was observed of each pair, from 0 to 1.
        similarities: of the same pairs, and of the unpaired images.
    """
    near, far = similarities.pairs, similarities.unpaired
    means = [calibrate(near[rows], outcomes[rows]).at(far).mean() for rows in similarities.draws() if len(rows)]
    low, high = np.percentile(means, INTERVAL)
    expected = calibrate(near, outcomes).at(far).mean()
    return Estimate(float(outcomes.mean()), float(expected), float(low), float(high))
