"""Means, spreads and paired differences with confidence intervals."""

import math
import statistics
from dataclasses import dataclass

import numpy as np

from sclip_plugin.commands.study.collect import Measure, RunResult
from sclip_plugin.evaluation.bootstrap import interval

# 97.5% points of Student's t for 1, 2, … 30 degrees of freedom; above 30 the normal distribution's point is used
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


@dataclass(frozen=True)
class Spread:
    """One figure over several seeds.

    Attributes:
        mean: the mean over seeds.
        std: the sample standard deviation; NaN for one seed.
        low: the lower end of the 95% interval of the mean, by Student's t; NaN for one seed.
        high: the upper end.
        values: the figure for each seed.
    """

    mean: float
    std: float
    low: float
    high: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class Difference:
    """An arm minus another in one measure, in percentage points.

    Attributes:
        arm: the one arm's name.
        other: the name of the arm that is subtracted.
        measure: what is compared.
        over_seeds: the differences paired by seed: would the mean hold with other seeds?
        over_images: 95% interval of that mean with other draws of the test images (bootstrap, paired by image): would
            it hold on other images?
    """

    arm: str
    other: str
    measure: Measure
    over_seeds: Spread
    over_images: tuple[float, float]

    @property
    def sure(self) -> bool:
        """True where both intervals leave out zero on the same side; never with one seed."""
        ends = (self.over_seeds.low, self.over_seeds.high, *self.over_images)  # NaN is neither above nor below
        return all(end > 0 for end in ends) or all(end < 0 for end in ends)

    @property
    def ahead(self) -> int:
        """The number of seeds in which the arm is above the other."""
        return sum(value > 0 for value in self.over_seeds.values)


def t_point(degrees: int) -> float:
    """The 97.5% point of Student's t with so many degrees of freedom, at least 1."""
    return _T[degrees - 1] if degrees <= len(_T) else 1.960


def spread(values: list[float]) -> Spread:
    """The mean of one figure per seed, with its spread. There must be at least one value."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Spread(mean, math.nan, math.nan, math.nan, tuple(values))
    std = statistics.stdev(values)
    half = t_point(len(values) - 1) * std / math.sqrt(len(values))
    return Spread(mean, std, mean - half, mean + half, tuple(values))


def difference(
    arm: dict[int, RunResult], other: dict[int, RunResult], names: tuple[str, str], measure: Measure, samples: int
) -> Difference | None:
    """The difference of two arms over the seeds that both have; None where there is no such seed.

    Args:
        arm: the one arm's results by seed.
        other: the results of the arm that is subtracted.
        names: both arms' names.
        measure: what is compared.
        samples: draws of the test images.
    """
    seeds = [seed for seed in arm if seed in other]
    if not seeds:
        return None
    by_seed = [arm[seed].value(measure) - other[seed].value(measure) for seed in seeds]
    by_image = [arm[seed].replicates(measure, samples) - other[seed].replicates(measure, samples) for seed in seeds]
    return Difference(names[0], names[1], measure, spread(by_seed), interval(np.mean(by_image, axis=0)))
