"""From similarity to probability: isotonic regression by pooling adjacent violators. Pure functions of arrays.

SciPy has the same fit, but is no dependency of this package otherwise; the pooling itself is a dozen lines.

Legend: N observations, M distinct similarities, G corners of the fitted line, V values to be looked up.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Calibration:
    """A line that never falls. Between its corners it is straight, and beyond the outer ones it is level.

    Attributes:
        similarities: float64 (G,), where the corners are, rising.
        probabilities: float64 (G,), how high they are, never falling.
    """

    similarities: np.ndarray
    probabilities: np.ndarray

    def at(self, similarities: np.ndarray) -> np.ndarray:
        """The probabilities at some similarities: (V,) → float64 (V,)."""
        return np.interp(similarities, self.similarities, self.probabilities)


def calibrate(similarities: np.ndarray, outcomes: np.ndarray) -> Calibration:
    """The rising line that is nearest to the outcomes in the mean square: isotonic regression.

    Equal similarities count as one observation with the mean of their outcomes. The fitted steps are joined by straight
    lines, so that a small difference of the similarity never makes a large one of the probability.

    Example:
        >>> line = calibrate(np.array([1, 2, 3, 4]) / 8, np.array([0, 1, 0, 1]))
        >>> line.at(np.array([0, 5, 7, 9]) / 16).tolist()
        [0.0, 0.5, 0.75, 1.0]

    Args:
        similarities: (N,), N ≥ 1, finite.
        outcomes: (N,), what was observed at each: 0 or 1, or a probability.

    Raises:
        ValueError: there is no observation, the shapes differ, or a number is not finite.
    """
    if similarities.ndim != 1 or similarities.shape != outcomes.shape or not len(similarities):
        raise ValueError(
            f"similarities and outcomes must be (N,) with N >= 1, got {similarities.shape}, {outcomes.shape}"
        )
    if not (np.isfinite(similarities).all() and np.isfinite(outcomes).all()):
        raise ValueError("similarities and outcomes must be finite")
    distinct, place = np.unique(similarities.astype(np.float64), return_inverse=True)
    weights = np.bincount(place).astype(np.float64)
    means = np.bincount(place, outcomes.astype(np.float64)) / weights
    levels, lengths = _pool(means, weights)
    last = np.cumsum(lengths) - 1
    corners = np.unique(np.concatenate([last - lengths + 1, last]))  # both ends of every level part
    return Calibration(distinct[corners], np.repeat(levels, lengths)[corners])


def _pool(means: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(levels, lengths) of the level parts: each neighbour that is not higher is pooled with the part before it.

    Args:
        means: (M,), the outcome at each similarity.
        weights: (M,), the observations behind it.
    """
    levels: list[float] = []
    masses: list[float] = []
    lengths: list[int] = []
    for level, mass in zip(means.tolist(), weights.tolist()):
        length = 1
        while levels and levels[-1] >= level:
            before = masses.pop()
            level = (levels.pop() * before + level * mass) / (before + mass)
            mass += before
            length += lengths.pop()
        levels.append(level)
        masses.append(mass)
        lengths.append(length)
    return np.array(levels), np.array(lengths)
