"""Weights on the line between two models, and choosing one of them."""

import math
import statistics
from dataclasses import dataclass

from torch import Tensor

RECALLS = tuple(f"{way}_retrieval_recall@{k}" for way in ("image", "text") for k in (1, 5, 10))


def interpolate(start: dict[str, Tensor], tuned: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """(1 − alpha)·start + alpha·tuned, in at least float32, each in the start's dtype; 0 and 1 give the ends exactly.

    Tensors of whole numbers (BatchNorm's counter) are the tuned model's.

    Raises:
        ValueError: other names or shapes, naming one; alpha outside 0 … 1.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 to 1, got {alpha}")
    different = set(start) ^ set(tuned) or {k for k in start if start[k].shape != tuned[k].shape}
    if different:
        raise ValueError(f"the models differ in {sorted(different)[0]}")
    return {name: _between(tensor, tuned[name], alpha) for name, tensor in start.items()}


def _between(start: Tensor, tuned: Tensor, alpha: float) -> Tensor:
    if alpha == 0 and start.is_floating_point():
        return start.clone()
    if alpha == 1 or not start.is_floating_point():
        return tuned.to(start.dtype).clone()
    wide = start.float() if start.element_size() < 4 else start
    return wide.lerp(tuned.to(wide.dtype), alpha).to(start.dtype)


def score(metrics: dict[str, float]) -> float:
    """One figure of a set: accuracy, or the mean of R@1, 5, 10 both ways."""
    return metrics["acc1"] if "acc1" in metrics else statistics.fmean(metrics[name] for name in RECALLS)


@dataclass(frozen=True)
class Point:
    """A model on the line and its scores, {set: score}."""

    alpha: float
    scores: dict[str, float]


def choose(points: list[Point], by: list[str], floors: dict[str, float]) -> Point | None:
    """The point with the highest mean score over the sets in `by`; of equal ones, the nearest to the start.

    Args:
        floors: {set: drop}: how far the set's score may fall below the start model's (the point with alpha 0).

    Returns:
        None where no point keeps the floors.
    """
    start = next(point for point in points if point.alpha == 0)
    kept = [p for p in points if all(p.scores[name] >= start.scores[name] - drop for name, drop in floors.items())]
    kept = [p for p in kept if all(math.isfinite(p.scores[name]) for name in by)]
    if not kept:
        return None
    return max(kept, key=lambda p: (statistics.fmean(p.scores[name] for name in by), -p.alpha))
