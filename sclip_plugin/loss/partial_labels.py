"""Keyword-level targets by partial-label learning (paper section 4.2).

Legend: U unpaired images, B paired samples, K keywords.
"""

import torch
from torch import Tensor


def candidate_sets(plan: Tensor, keyword_candidates: Tensor) -> Tensor:
    """bool (U, K): the keywords of the caption nearest to each unpaired image, A[argmax_j P[u, j]].

    Args:
        plan: P, (U, B).
        keyword_candidates: A, bool (B, K).
    """
    return keyword_candidates[plan.argmax(dim=1)]


def own_keywords(keyword_candidates: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, K): A / |A|, equal weights over each caption's own keywords; zero where it holds none (ours).

    Args:
        keyword_candidates: A, bool (B, K).
        dtype: of the result.
    """
    own = keyword_candidates.to(dtype)
    return own / own.sum(dim=1, keepdim=True).clamp(min=1)


def keyword_targets(choice: str, cosine: Tensor, logit_scale: Tensor, candidates: Tensor) -> Tensor:
    """R (U, K): weights over each row's candidates that sum to 1; a row without candidates is zero.

    `similarity`: proportional to the cosine (authors' code), clamped at 0 and uniform where no candidate is positive
    (ours: negative cosines would make the weights negative or unbounded). `softmax`: softmax of s·cosine over the
    candidates (as in PRODEN). `uniform`: equal.

    Args:
        choice: one of `settings.KEYWORD_TARGETS`.
        cosine: (U, K) inner products with the keyword features, at least float32.
        logit_scale: s, one-element tensor.
        candidates: bool (U, K).
    """
    if choice == "softmax":
        logits = (logit_scale.to(cosine.dtype) * cosine).masked_fill(~candidates, float("-inf"))
        weights = torch.softmax(logits, dim=1)
        # a row without candidates is all −inf, its softmax NaN; a NaN that came in with the features must stay
        return torch.where(candidates.any(dim=1, keepdim=True), weights, torch.zeros_like(weights))
    weights = candidates.view(torch.uint8).to(cosine.dtype)  # torch converts bytes several times faster than bools
    if choice == "similarity":
        positive = cosine.clamp(min=0) * weights
        # 1 for rows without a positive cosine; a NaN that came in with the features is not 0, and stays
        unusable = (positive.sum(dim=1, keepdim=True) == 0).to(cosine.dtype)
        weights = positive + unusable * weights
    mass = weights.sum(dim=1, keepdim=True)
    return weights / mass.masked_fill(mass == 0, 1)
