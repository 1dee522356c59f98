"""The published algorithm (arXiv 2305.14095) as its authors' code computes it, in one process: the baseline.

Written anew from docs/method.md and from what the authors' module (`custom/loss.py` of alinlab/s-clip) does, step by
step and with the same cost: three products of features for all logits, POT's Sinkhorn on tensors in float64 with
gradient through the plan, the plan multiplied with the pairs' one-hot labels, and a loop over the unpaired images that
stacks the rows of each one's candidate keywords. Their module mixes float64 marginals with a float32 cost, which POT
refuses; the cost is float64 here. Where all cosines with keywords are positive, value and gradients are those of
`SClipLoss(detach_targets=False)`; the authors do not clamp negative ones.

Legend: B pairs, U unpaired images, K keywords, D width; all features L2-normalised.
"""

import ot
import torch
import torch.nn.functional as F
from torch import Tensor


def published_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: Tensor,
    unpaired_features: Tensor,
    keyword_features: Tensor,
    keyword_candidates: Tensor,
) -> Tensor:
    """The sum of the three terms of the loss; the arguments are those of `SClipLoss.forward` in one process."""
    own = torch.arange(len(image_features), device=image_features.device)
    by_image = (logit_scale * image_features @ text_features.T).float()
    by_unpaired = (logit_scale * unpaired_features @ text_features.T).float()
    by_text = torch.cat([by_image, by_unpaired]).T
    supervised = (F.cross_entropy(by_image, own) + F.cross_entropy(by_text, own)) / 2

    plan = transport_plan(unpaired_features, image_features, logit_scale).float()
    caption_level = mean_cross_entropy(by_unpaired, plan @ F.one_hot(own).float())

    targets = keyword_targets(plan, unpaired_features, keyword_features, keyword_candidates, logit_scale)
    by_keyword = (logit_scale * unpaired_features @ keyword_features.T).float()
    return supervised + caption_level / 2 + mean_cross_entropy(by_keyword, targets) / 2


def transport_plan(unpaired: Tensor, paired: Tensor, logit_scale: Tensor) -> Tensor:
    """(U, B): POT's plan between uniform marginals after ten iterations, each row divided by its sum."""
    cost = (1 - unpaired @ paired.T).double()
    rows, columns = (torch.full((n,), 1 / n, dtype=torch.double, device=cost.device) for n in cost.shape)
    plan = ot.bregman.sinkhorn(rows, columns, cost, reg=1 / logit_scale, numItermax=10, warn=False)
    return plan / plan.sum(dim=1, keepdim=True)


def keyword_targets(plan: Tensor, unpaired: Tensor, keywords: Tensor, candidates: Tensor, scale: Tensor) -> Tensor:
    """(U, K): the cosines with each image's candidate keywords, divided by their sum, image by image."""
    targets = torch.zeros(len(unpaired), len(keywords), device=unpaired.device)
    for row, (image, mass) in enumerate(zip(unpaired, plan)):
        chosen = candidates[int(mass.max(dim=0)[1])].nonzero().flatten().tolist()
        if len(chosen) == 1:
            targets[row, chosen[0]] = 1
        elif chosen:
            weights = (scale * image @ torch.stack([keywords[k] for k in chosen]).T).detach()
            for k, weight in zip(chosen, weights / weights.sum()):
                targets[row, k] = weight
    return targets


def mean_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """0-dim: the mean over rows of −Σ targets·log softmax(logits); both (N, M)."""
    return (-targets * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
