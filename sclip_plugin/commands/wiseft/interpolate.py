"""Weights on the line between two models, and choosing one of them."""

import io
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

State = dict[str, Tensor]  # a model's tensors by name


def interpolate(start: State, tuned: State, alpha: float) -> State:
    """(1 − alpha)·start + alpha·tuned, in at least float32, each in the start's dtype; 0 and 1 give the ends exactly.

    Tensors of whole numbers (BatchNorm's counter) are the tuned model's.

    Args:
        start: the start model's tensors.
        tuned: the tuned model's, of the same names and shapes.
        alpha: from 0 to 1.

    Raises:
        ValueError: names or shapes differ (the message names one), or alpha is out of range.
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


@dataclass(frozen=True)
class Point:
    """A model on the line.

    Attributes:
        alpha: its place, from 0 (the start model) to 1 (the tuned model).
        scores: its score on each set, from 0 to 1, by the set's name.
    """

    alpha: float
    scores: dict[str, float]


def choose(points: Sequence[Point], by: Collection[str], floors: Mapping[str, float]) -> Point | None:
    """The point with the highest mean score over the sets in `by`; of equal ones, the nearest to the start.

    Args:
        points: the points, of which one has alpha 0.
        by: names of the sets to be best on, at least one.
        floors: how far each of these sets' scores may fall below the start model's, from 0 to 1.

    Returns:
        None where no point keeps the floors.
    """
    start = next(point for point in points if point.alpha == 0)
    kept = [p for p in points if all(p.scores[name] >= start.scores[name] - drop for name, drop in floors.items())]
    kept = [p for p in kept if all(math.isfinite(p.scores[name]) for name in by)]
    if not kept:
        return None
    return max(kept, key=lambda p: (statistics.fmean(p.scores[name] for name in by), -p.alpha))


def checkpoint_bytes(state: State, name: str, suffix: str) -> bytes:
    """The content of a checkpoint file that plain open_clip loads.

    Args:
        state: the weights.
        name: what the checkpoint calls itself; only `.pt` has a place for it.
        suffix: `.pt` or `.safetensors`.
    """
    if suffix == ".safetensors":
        from safetensors.torch import save

        return save({name: tensor.contiguous() for name, tensor in state.items()})
    buffer = io.BytesIO()
    torch.save({"name": name, "state_dict": state}, buffer)
    return buffer.getvalue()
