"""Figures that say what the pseudo-labels of a step are like (ours). Pure functions of tensors; nothing is read back.

Legend: U unpaired images, B pairs, K keywords, D width, W ranks. Where a rank holds its own rows of the plan only
(`--local-loss`), the figures are brought together over the ranks, so that every rank must call these functions.
"""

import torch
from torch import Tensor
from torch import distributed as dist

from sclip_plugin.loss.partial_labels import candidate_sets
from sclip_plugin.loss.pseudo_labels import cosines


def entropy(weights: Tensor) -> Tensor:
    """(…,): −Σ w·log w over the last dimension of (…, N) weights, in nats; 0·log 0 = 0."""
    return torch.special.entr(weights).sum(dim=-1)


def _mean_over_ranks(tensor: Tensor, world_size: int) -> Tensor:
    if world_size > 1:
        dist.all_reduce(tensor)
        tensor = tensor / world_size
    return tensor


def label_measures(plan: Tensor, world_size: int = 1) -> dict[str, Tensor]:
    """Figures of the pseudo-captions.

    Args:
        plan: P (U, B), whose rows sum to 1.
        world_size: ranks that hold rows of the same plan.

    Returns:
        0-dim tensors by name.

        - `label_entropy`: the mean entropy of a row, in nats.
        - `effective_captions`: the mean of its exponential, which is the number of captions that an image draws from,
          1 … B.
        - `heaviest_weight`: the mean of a row's largest weight.
        - `captions_used`: the exponential of the entropy of the column mass, as a share of B: 1 where all captions are
          used evenly, 1/B where one takes all.
        - `heaviest_caption`: the largest column mass, as a share of the whole.
        - `marginal_error`: the L1 distance of the column mass from uniform.
    """
    rows = entropy(plan)
    means = torch.stack([rows.mean(), rows.exp().mean(), plan.max(dim=1).values.mean()])
    packed = _mean_over_ranks(torch.cat([means, plan.mean(dim=0)]), world_size)
    mass = packed[3:]
    return {
        "label_entropy": packed[0],
        "effective_captions": packed[1],
        "heaviest_weight": packed[2],
        "captions_used": entropy(mass).exp() / plan.shape[1],
        "heaviest_caption": mass.max(),
        "marginal_error": (mass - 1 / plan.shape[1]).abs().sum(),
    }


def trust_measures(plan: Tensor, trust: Tensor, world_size: int = 1) -> dict[str, Tensor]:
    """Figures of pseudo-captions that are known beforehand.

    Args:
        plan: P (U, N), whose rows sum to the trust in them.
        trust: (U,), what each row counts, from 0 to 1.
        world_size: ranks that hold rows of the same plan.

    Returns:
        0-dim tensors by name.

        - `trust`: its mean.
        - `trusted`: the share of the images that count at all.
        - `drawn_captions`: the number of captions that such an image draws from, as `effective_captions` counts them;
          the mean over these images.
    """
    some = (trust > 0).float()
    shares = plan / trust.masked_fill(trust == 0, 1).unsqueeze(1)
    means = torch.stack([trust.float().mean(), some.mean(), (entropy(shares).exp() * some).mean()])
    packed = _mean_over_ranks(means, world_size)
    tiny = torch.finfo(torch.float32).tiny
    return {"trust": packed[0], "trusted": packed[1], "drawn_captions": packed[2] / packed[1].clamp(min=tiny)}


def keyword_measures(
    plan: Tensor, candidates: Tensor, queries: Tensor, keywords: Tensor, scale: Tensor, world_size: int = 1
) -> dict[str, Tensor]:
    """Figures of the candidate keywords.

    Args:
        plan: P (U, B).
        candidates: A, bool (B, K): the keywords of each caption.
        queries: Q (U, D), features of the unpaired images.
        keywords: G (K, D), features of the keywords.
        scale: s, a one-element tensor.
        world_size: ranks that hold rows of the same plan.

    Returns:
        0-dim tensors by name.

        - `without_candidates`: the share of the unpaired images that have no candidate keyword.
        - `candidates_per_image`: their mean number.
        - `keyword_confidence`: the probability that the model's softmax over all keywords gives to the candidates, as a
          mean over the images that have some; 0 where none has.
        - `commonest_keyword`: the share of the images that have the candidate which most images have.
        - `commonest_index`: the number of that keyword.
    """
    sets = candidate_sets(plan, candidates)
    logits = scale.float() * cosines(queries, keywords).float()
    inside = (torch.softmax(logits, dim=1) * sets).sum(dim=1)
    some = sets.any(dim=1)
    means = torch.stack([some.float().mean(), sets.sum(dim=1).float().mean(), (inside * some).mean()])
    packed = _mean_over_ranks(torch.cat([means, sets.float().mean(dim=0)]), world_size)
    commonest = packed[3:].max(dim=0)
    return {
        "without_candidates": 1 - packed[0],
        "candidates_per_image": packed[1],
        "keyword_confidence": packed[2] / packed[0].clamp(min=torch.finfo(torch.float32).tiny),
        "commonest_keyword": commonest.values,
        "commonest_index": commonest.indices.float(),
    }
