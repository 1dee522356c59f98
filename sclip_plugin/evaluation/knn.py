"""The classes of the nearest images: a weighted vote (Wu et al. 2018, arXiv 1805.01978; DINO, arXiv 2104.14294).

Legend: N images that are known, n that are asked about, C classes, D embedding width.
"""

import torch
from torch import Tensor

from sclip_plugin.evaluation.labelled import Labelled
from sclip_plugin.evaluation.metrics import MAX_SCORES

NEIGHBOURS = 20  # DINO's
TEMPERATURE = 0.07  # Wu et al.'s and DINO's


def vote(
    known: Labelled, asked: Tensor, classes: int, neighbours: int = NEIGHBOURS, temperature: float = TEMPERATURE
) -> Tensor:
    """(n, C): for each class the sum of exp(cosine / temperature) over the nearest known images that are of it.

    Args:
        known: at least one image.
        asked: (n, D), L2-normalised.
        classes: C.
        neighbours: how many known images vote; all of them where there are fewer.
        temperature: the smaller, the less the farther ones count.
    """
    rows = max(1, MAX_SCORES // len(known))
    votes = []
    for part in asked.split(rows):
        near = (part @ known.features.T).topk(min(neighbours, len(known)))
        weights = (near.values / temperature).exp()
        empty = torch.zeros(len(part), classes, device=asked.device)
        votes.append(empty.scatter_add(1, known.labels[near.indices], weights))
    return torch.cat(votes)
