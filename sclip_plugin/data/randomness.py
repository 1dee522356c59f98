"""Random numbers of transforms that depend on nothing but a seed: crops and flips of pairs and of unpaired images.

A transform draws from the generators of Python, NumPy or torch, which everything in a process shares. `Generators`
lends it states of its own, so that the crops of the pairs are the same whether unpaired images are read between them or
not, and whether a worker or the training process itself reads.
"""

import random
from types import TracebackType
from typing import Any

import numpy as np
import torch

_State = tuple[Any, Any, torch.Tensor]


def _current() -> _State:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _restore(state: _State) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])


class Generators:
    """A context in which the process's generators continue from where they stopped in this context before.

    Outside it the generators are as if it had not been entered.

    Args:
        seed: of the three generators, 0 … 2³² − 1.
    """

    def __init__(self, seed: int):
        outside = _current()
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)
        self._inside = _current()
        _restore(outside)
        self._outside = outside

    def __enter__(self) -> None:
        self._outside = _current()
        _restore(self._inside)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._inside = _current()
        _restore(self._outside)
