"""Retrieval and classification measures as pure functions of features (names and formulas of CLIP_benchmark).

Every measure is a function of one number per query: the rank of its first right answer, 0 for the best. Ties are
broken by position, the earlier candidate first, as a stable sort does: a model whose features are all equal scores
what chance gives, and the same features give the same figures on any machine. CLIP_benchmark leaves ties to
`torch.topk`, which promises no order; without ties both agree exactly.

Features that are not finite make the measures NaN; nothing hides it.

Legend: N images, M texts, C classes, D embedding width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_SCORES = 1 << 24  # scores held at a time: 64 MB, and as much again for comparisons
RECALL_K = (1, 5, 10)
MISS = torch.iinfo(torch.int64).max  # the rank where there is no right answer


def first_hit_ranks(scores: Tensor, right: Tensor) -> Tensor:
    """Rank of the best right candidate of each query.

    Args:
        scores: (rows, columns), higher is better.
        right: int (rows, P): columns of the right candidates; -1 fills a row that has fewer than P.

    Returns:
        int64 (rows,): 0-based; `MISS` where a row has no right candidate.
    """
    found = scores.gather(1, right.clamp(min=0)).masked_fill(right < 0, -torch.inf)
    best = found.max(dim=1, keepdim=True).values
    ranks = _count(scores > best)
    tied = (_count(scores == best) > 1).nonzero().squeeze(1)
    if len(tied):  # seldom: the earlier candidate first
        first = (
            torch.where((found == best) & (right >= 0), right, scores.shape[1])[tied].min(dim=1, keepdim=True).values
        )
        earlier = torch.arange(scores.shape[1], device=scores.device) < first
        ranks[tied] += _count((scores[tied] == best[tied]) & earlier)
    return torch.where((right >= 0).any(dim=1), ranks, MISS)


def _count(mask: Tensor) -> Tensor:
    """int64 (rows,): how many are true in each row; summing bytes is twice as fast as summing bools."""
    return mask.view(torch.int8).sum(dim=1, dtype=torch.int32).long()


def right_candidates(query_owner: Tensor, candidate_owner: Tensor) -> Tensor:
    """int (rows, P): for each query the candidates with its owner, ascending, -1 after the last; P ≥ 1 the most of any.

    Args:
        query_owner, candidate_owner: int (rows,) and (columns,), at least 0.
    """
    order = torch.argsort(candidate_owner, stable=True)
    ordered = candidate_owner[order].contiguous()
    start = torch.searchsorted(ordered, query_owner)
    count = torch.searchsorted(ordered, query_owner, right=True) - start
    step = torch.arange(max(1, int(count.max())) if len(count) else 1, device=order.device)
    place = (start[:, None] + step).clamp(max=len(order) - 1)
    return torch.where(step < count[:, None], order[place], -1)


def retrieval_ranks(queries: Tensor, candidates: Tensor, query_owner: Tensor, candidate_owner: Tensor) -> Tensor:
    """`first_hit_ranks` of every query, a bounded number of scores at a time.

    Args:
        queries, candidates: (rows, D) and (columns, D), L2-normalised.
        query_owner, candidate_owner: int (rows,) and (columns,): a pair is right where they are equal.
    """
    rows = max(1, MAX_SCORES // max(1, len(candidates)))
    right = right_candidates(query_owner, candidate_owner)
    columns = candidates.T.contiguous()
    parts = zip(queries.split(rows), right.split(rows))
    return torch.cat([first_hit_ranks(part @ columns, indices) for part, indices in parts])


def recall_at(ranks: Tensor, k: int) -> float:
    """Share of queries with a right answer among the first k."""
    return (ranks < k).float().mean().item()


def retrieval_metrics(
    images: Tensor, texts: Tensor, owner: Tensor, recall_k=RECALL_K, ranks: dict | None = None
) -> dict[str, float]:
    """`image_retrieval_recall@k` (text → image) and `text_retrieval_recall@k` (image → any of its texts).

    An image without any text counts as missed in text retrieval, as in CLIP_benchmark.

    Args:
        images: (N, D), L2-normalised.
        texts: (M, D), L2-normalised.
        owner: int (M,): the image that each text describes.
        ranks: filled with numpy arrays `image` (M,), `text` (N,), `owner` (M,), as `bootstrap.replicates` takes them.
    """
    finite = bool(torch.isfinite(images).all() & torch.isfinite(texts).all())
    index = torch.arange(len(images), device=owner.device)
    metrics = {}
    for direction, arguments in (("image", (texts, images, owner, index)), ("text", (images, texts, index, owner))):
        found = retrieval_ranks(*arguments) if finite else None
        for k in recall_k:
            metrics[f"{direction}_retrieval_recall@{k}"] = recall_at(found, k) if finite else float("nan")
        if ranks is not None and finite:
            ranks[direction] = found.cpu().numpy()
    if ranks is not None and finite:
        ranks["owner"] = owner.cpu().numpy()
    return metrics


def contrastive_loss(images: Tensor, texts: Tensor, owner: Tensor, scale: float, batch_size: int) -> float:
    """CLIP's loss over batches of a set's images in order, each with its first caption, as open_clip's validation.

    Images without a caption are left out.

    Args:
        images: (N, D). texts: (M, D). owner: int (M,), ascending. scale: s.
    """
    first = torch.searchsorted(owner, torch.arange(len(images), device=owner.device)).clamp(max=len(owner) - 1)
    has = owner[first] == torch.arange(len(images), device=owner.device)
    total = 0.0
    for queries, answers in zip(images[has].split(batch_size), texts[first[has]].split(batch_size)):
        logits, labels = scale * queries @ answers.T, torch.arange(len(queries), device=owner.device)
        losses = F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)
        total += losses.item() / 2 * len(queries)
    return total / int(has.sum())


def class_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """int64 (N,): rank of the right class in logits (N, C) with labels (N,); `MISS` where a row's
    logits are not all finite."""
    ranks = first_hit_ranks(logits, labels[:, None])
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
