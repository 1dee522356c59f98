"""The published algorithm (arXiv 2305.14095) in plain steps, in one process and without regard for speed: a baseline.

The transport is POT's, which asks the host whether it has converged; the keyword level is a loop over the unpaired
images; each level computes its own similarities; keywords pass the text tower padded to its context like any caption.
Gradient runs through the plan, while the keyword weights are constants, as in the authors' code. Value and gradient are
those of `SClipLoss(detach_targets=False)`.

Legend: B pairs, U unpaired images, K keywords, D width; all features L2-normalised.
"""

import ot
import torch
import torch.nn.functional as F
from torch import Tensor


def naive_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: Tensor,
    unpaired_features: Tensor,
    keyword_features: Tensor,
    keyword_candidates: Tensor,
) -> Tensor:
    """The sum of the three terms of the loss; the arguments are those of `SClipLoss.forward` in one process."""
    labels = torch.arange(len(image_features), device=image_features.device)
    by_image = logit_scale * image_features @ text_features.T
    by_text = logit_scale * text_features @ torch.cat([image_features, unpaired_features]).T
    contrastive = (F.cross_entropy(by_image.float(), labels) + F.cross_entropy(by_text.float(), labels)) / 2

    plan = transport_plan(unpaired_features, image_features, logit_scale)
    by_unpaired = logit_scale * unpaired_features @ text_features.T
    caption_level = F.cross_entropy(by_unpaired.float(), plan / plan.sum(dim=1, keepdim=True))

    nearest = plan.argmax(dim=1).tolist()
    terms = []
    for unpaired, pair in zip(unpaired_features, nearest):
        chosen = keyword_candidates[pair].nonzero().flatten().tolist()
        cosines = (unpaired @ keyword_features.T).float()
        terms.append(keyword_term(cosines, chosen, logit_scale))
    return contrastive + 0.5 * caption_level + 0.5 * torch.stack(terms).mean()


def transport_plan(unpaired: Tensor, paired: Tensor, logit_scale: Tensor) -> Tensor:
    """(U, B): POT's plan between uniform marginals after ten iterations, regularised by the temperature."""
    cost = 1 - unpaired.float() @ paired.float().T
    rows, columns = (torch.full((size,), 1 / size, device=cost.device) for size in cost.shape)
    return ot.sinkhorn(rows, columns, cost, 1 / logit_scale, numItermax=10, warn=False)


def keyword_term(cosines: Tensor, chosen: list[int], logit_scale: Tensor) -> Tensor:
    """The cross-entropy of one image against its candidates, weighted by their cosines; 0 without candidates."""
    if not chosen:
        return cosines.sum() * 0
    weights = cosines[chosen].detach().clamp(min=0)
    weights = weights / weights.sum() if weights.sum() > 0 else torch.full_like(weights, 1 / len(chosen))
    return -(weights * F.log_softmax(logit_scale * cosines, dim=0)[chosen]).sum()
