"""Retrieval and classification measures as pure functions of features (names and formulas of CLIP_benchmark).

Every measure is a function of one number per query: the rank of its first right answer, 0 for the best. Ties are
broken by position, the earlier candidate first, as a stable sort does: a model whose features are all equal scores
what chance gives, and the same features give the same figures on any machine. CLIP_benchmark leaves ties to
`torch.topk`, which promises no order; without ties both agree exactly.

Features that are not finite make the measures NaN; nothing hides it.

Legend: N images, M texts, C classes, D embedding width.
"""

import torch
from torch import Tensor

MAX_SCORES = 1 << 22  # scores held at a time: some 100 MB with their masks
RECALL_K = (1, 5, 10)
MISS = torch.iinfo(torch.int64).max  # the rank where there is no right answer


def first_hit_ranks(scores: Tensor, positive: Tensor) -> Tensor:
    """Rank of the best right candidate of each query.

    Args:
        scores: (rows, columns), higher is better.
        positive: bool, the same shape, which candidates are right.

    Returns:
        int64 (rows,): 0-based; `MISS` where a row has no right candidate.
    """
    best = scores.masked_fill(~positive, -torch.inf).max(dim=1, keepdim=True).values
    place = torch.arange(scores.shape[1], device=scores.device)
    first = torch.where(positive & (scores == best), place, scores.shape[1]).min(dim=1, keepdim=True).values
    before = (scores > best) | ((scores == best) & (place < first))
    return torch.where(positive.any(dim=1), before.sum(dim=1), MISS)


def retrieval_ranks(queries: Tensor, candidates: Tensor, query_owner: Tensor, candidate_owner: Tensor) -> Tensor:
    """`first_hit_ranks` of every query, a bounded number of scores at a time.

    Args:
        queries, candidates: (rows, D) and (columns, D), L2-normalised.
        query_owner, candidate_owner: int (rows,) and (columns,): a pair is right where they are equal.
    """
    rows = max(1, MAX_SCORES // max(1, len(candidates)))
    ranks = [
        first_hit_ranks(part @ candidates.T, owner[:, None] == candidate_owner[None, :])
        for part, owner in zip(queries.split(rows), query_owner.split(rows))
    ]
    return torch.cat(ranks)


def recall_at(ranks: Tensor, k: int) -> float:
    """Share of queries with a right answer among the first k."""
    return (ranks < k).float().mean().item()


def retrieval_metrics(images: Tensor, texts: Tensor, owner: Tensor, recall_k=RECALL_K) -> dict[str, float]:
    """`image_retrieval_recall@k` (text → image) and `text_retrieval_recall@k` (image → any of its texts).

    An image without any text counts as missed in text retrieval, as in CLIP_benchmark.

    Args:
        images: (N, D), L2-normalised.
        texts: (M, D), L2-normalised.
        owner: int (M,): the image that each text describes.
    """
    finite = bool(torch.isfinite(images).all() & torch.isfinite(texts).all())
    index = torch.arange(len(images), device=owner.device)
    metrics = {}
    for direction, arguments in (("image", (texts, images, owner, index)), ("text", (images, texts, index, owner))):
        ranks = retrieval_ranks(*arguments) if finite else None
        for k in recall_k:
            metrics[f"{direction}_retrieval_recall@{k}"] = recall_at(ranks, k) if finite else float("nan")
    return metrics


def class_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """int64 (N,): rank of the right class in logits (N, C) with labels (N,); `MISS` where a row's
    logits are not all finite."""
    positive = torch.arange(logits.shape[1], device=labels.device)[None, :] == labels[:, None]
    ranks = first_hit_ranks(logits, positive)
    return torch.where(torch.isfinite(logits).all(dim=1), ranks, MISS)


def classification_metrics(ranks: Tensor, labels: Tensor, num_classes: int) -> dict[str, float]:
    """`acc1`, `acc5` (with fewer than 5 classes, the right one is always among them) and `mean_per_class_recall`.

    The last is the mean, over the classes that occur in `labels`, of the share of their images that are classified
    right. NaN where features were not finite.

    Args:
        ranks, labels: int (N,), from `class_ranks`.
        num_classes: C.
    """
    if bool((ranks == MISS).any()):
        return dict.fromkeys(("acc1", "acc5", "mean_per_class_recall"), float("nan"))
    right = (ranks == 0).double()
    total = torch.bincount(labels, minlength=num_classes)
    hits = torch.bincount(labels, weights=right, minlength=num_classes)
    seen = total > 0
    return {
        "acc1": recall_at(ranks, 1),
        "acc5": recall_at(ranks, min(5, num_classes)),
        "mean_per_class_recall": (hits[seen] / total[seen]).mean().item(),
    }
