"""A linear classifier on frozen image features, trained as CLIP_benchmark 1.6.2 trains it (`--task linear_probe`).

A layer with bias, cross-entropy, AdamW with lr 0.1, cosine decay without warm-up, 10 epochs of batches of 64. The
weight decay is 0, or with a validation split the best of 97 values from 1e-6 to 1e2 by the search of the CLIP paper
(arXiv 2103.00020, A.3). Every figure here is a default of CLIP_benchmark's command.

Legend: N images, C classes, D embedding width.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Final

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from sclip_plugin.evaluation.labelled import SEED, Labelled

LEARNING_RATE: Final = 0.1  # CLIP_benchmark's --fewshot_lr
EPOCHS: Final = 10  # its --fewshot_epochs
BATCH_SIZE: Final = 64  # its --batch_size
DECAYS: Final = tuple(10 ** (-6 + 8 * place / 96) for place in range(97))
FIRST_STRIDE: Final = 16  # the search begins with every 16th of them, and halves its stride from 8 to 1


def fit(learnt: Labelled, classes: int, weight_decay: float) -> nn.Linear:
    """A trained layer (D → C). The same features give the same layer; torch's random state stays as it was."""
    device, width = learnt.features.device, learnt.features.shape[1]
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.enable_grad():
        torch.manual_seed(SEED)
        probe = nn.Linear(width, classes).to(device)
        optimizer = torch.optim.AdamW(probe.parameters(), lr=LEARNING_RATE, weight_decay=weight_decay)
        data = TensorDataset(learnt.features.cpu(), learnt.labels.cpu())
        # whole batches by index are faster than collating images one by one, and the order stays DataLoader's own
        sampler = BatchSampler(RandomSampler(data), BATCH_SIZE, drop_last=False)
        batches = DataLoader(data, sampler=sampler, batch_size=None)
        steps = EPOCHS * len(sampler)
        for step, (features, labels) in enumerate(batch for _ in range(EPOCHS) for batch in batches):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * step / steps)) / 2
            optimizer.zero_grad()
            nn.functional.cross_entropy(probe(features.to(device)), labels.to(device)).backward()
            optimizer.step()
    return probe


@torch.no_grad()
def scores(probe: nn.Linear, features: Tensor) -> Tensor:
    """(N, D) → (N, C)."""
    return probe(features)


def best_decay(accuracy: Callable[[float], float]) -> float:
    """The weight decay with the best accuracy, found in at most 15 tries; of equals the first that was tried.

    Args:
        accuracy: of a classifier that is trained with this weight decay.
    """
    at = cache(lambda place: accuracy(DECAYS[place]))
    best = max(range(0, len(DECAYS), FIRST_STRIDE), key=at)
    stride = FIRST_STRIDE // 2
    while stride:
        best = max((max(best - stride, 0), best, min(best + stride, len(DECAYS) - 1)), key=at)
        stride //= 2
    return DECAYS[best]


def train(learnt: Labelled, val: Labelled | None, classes: int, few: bool) -> tuple[nn.Linear, float]:
    """(a trained layer, its weight decay).

    Args:
        learnt: what it is trained on.
        val: what the weight decay is chosen on; None for a weight decay of 0.
        classes: C.
        few: whether only a few images of each class are learnt from. If not, the chosen one is trained on the
            validation images too, as CLIP_benchmark does.
    """
    if val is None:
        return fit(learnt, classes, 0.0), 0.0

    def accuracy(weight_decay: float) -> float:
        found = scores(fit(learnt, classes, weight_decay), val.features).argmax(dim=1)
        return (found == val.labels).float().mean().item()

    decay = best_decay(accuracy)
    return fit(learnt if few else learnt.with_(val), classes, decay), decay
