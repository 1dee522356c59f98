"""Retrieval and classification measures as pure functions of features (names and formulas of CLIP_benchmark).

A query is compared with a gallery: a text with all images, an image with all texts. Every measure is a function of one
number per query, the rank of its first right answer in the gallery, 0 for the best. Ties are broken by position, the
earlier column first, as a stable sort does: a model whose features are all equal scores what chance gives, and the same
features give the same figures on any machine. CLIP_benchmark leaves ties to `torch.topk`, which promises no order;
without ties both agree exactly.

Features that are not finite make the measures NaN, so that nothing hides them.

Legend: N images, M texts, C classes, D embedding width.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sclip_plugin.evaluation.names import CLASSIFICATION_METRICS, DIRECTIONS, RECALL_RANKS, recall_name

MAX_SCORES = 1 << 24  # scores held at a time: 64 MB, and as much again for comparisons
MISS = torch.iinfo(torch.int64).max  # the rank where there is no right answer


def first_hit_ranks(scores: Tensor, right: Tensor) -> Tensor:
    """Rank of the best right answer to each query.

    Args:
        scores: (queries, columns), higher is better; a column is a member of the gallery.
        right: int (queries, P): columns of the right answers; -1 fills a row that has fewer than P.

    Returns:
        int64 (queries,): 0-based; `MISS` where a query has no right answer.
    """
    found = scores.gather(1, right.clamp(min=0)).masked_fill(right < 0, -torch.inf)
    best = found.max(dim=1, keepdim=True).values
    ranks = _count(scores > best)
    tied = (_count(scores == best) > 1).nonzero().squeeze(1)
    if len(tied):  # seldom: the earlier column first
        first = (
            torch.where((found == best) & (right >= 0), right, scores.shape[1])[tied].min(dim=1, keepdim=True).values
        )
        earlier = torch.arange(scores.shape[1], device=scores.device) < first
        ranks[tied] += _count((scores[tied] == best[tied]) & earlier)
    return torch.where((right >= 0).any(dim=1), ranks, MISS)


def _count(mask: Tensor) -> Tensor:
    """int64 (rows,): how many are true in each row; summing bytes is twice as fast as summing bools."""
    return mask.view(torch.int8).sum(dim=1, dtype=torch.int32).long()


def right_columns(query_owner: Tensor, gallery_owner: Tensor) -> Tensor:
    """int (queries, P): for each query the columns of the gallery with its owner, ascending, -1 after the last.

    P is the most that any query has, and at least 1.

    Args:
        query_owner: int (queries,), at least 0.
        gallery_owner: int (columns,), at least 0.
    """
    order = torch.argsort(gallery_owner, stable=True)
    ordered = gallery_owner[order].contiguous()
    start = torch.searchsorted(ordered, query_owner)
    count = torch.searchsorted(ordered, query_owner, right=True) - start
    step = torch.arange(max(1, int(count.max())) if len(count) else 1, device=order.device)
    place = (start[:, None] + step).clamp(max=len(order) - 1)
    return torch.where(step < count[:, None], order[place], -1)


def retrieval_ranks(queries: Tensor, gallery: Tensor, query_owner: Tensor, gallery_owner: Tensor) -> Tensor:
    """`first_hit_ranks` of every query, a bounded number of scores at a time.

    Args:
        queries: (queries, D), L2-normalised.
        gallery: (columns, D), L2-normalised.
        query_owner: int (queries,): an answer is right where its owner is the query's.
        gallery_owner: int (columns,).
    """
    rows = max(1, MAX_SCORES // max(1, len(gallery)))
    right = right_columns(query_owner, gallery_owner)
    columns = gallery.T.contiguous()
    parts = zip(queries.split(rows), right.split(rows))
    return torch.cat([first_hit_ranks(part @ columns, answers) for part, answers in parts])


def recall_at(ranks: Tensor, k: int) -> float:
    """The share of queries with a right answer among the first k."""
    return (ranks < k).float().mean().item()


def retrieval_metrics(
    images: Tensor,
    texts: Tensor,
    owner: Tensor,
    recall_ranks: Sequence[int] = RECALL_RANKS,
    ranks: dict[str, np.ndarray] | None = None,
) -> dict[str, float]:
    """`image_retrieval_recall@k` (text → image) and `text_retrieval_recall@k` (image → any of its texts).

    An image without any text counts as missed in text retrieval, as in CLIP_benchmark.

    Args:
        images: (N, D), L2-normalised.
        texts: (M, D), L2-normalised.
        owner: int (M,): the image that each text describes.
        recall_ranks: each k.
        ranks: filled with numpy arrays `image` (M,), `text` (N,), `owner` (M,), as `bootstrap.replicates` takes them;
            left as it is where a feature is not finite.
    """
    if not bool(torch.isfinite(images).all() & torch.isfinite(texts).all()):
        return {recall_name(direction, k): math.nan for direction in DIRECTIONS for k in recall_ranks}
    index = torch.arange(len(images), device=owner.device)
    placed = {
        "image": retrieval_ranks(texts, images, owner, index),
        "text": retrieval_ranks(images, texts, index, owner),
    }
    if ranks is not None:
        ranks.update({name: part.cpu().numpy() for name, part in {**placed, "owner": owner}.items()})
    return {recall_name(name, k): recall_at(placed[name], k) for name in DIRECTIONS for k in recall_ranks}


def contrastive_loss(images: Tensor, texts: Tensor, owner: Tensor, scale: float, batch_size: int) -> float:
    """CLIP's loss over batches of a set's images in order, each with its first caption, as open_clip's validation.

    Images without a caption are left out.

    Args:
        images: (N, D), L2-normalised.
        texts: (M, D), L2-normalised.
        owner: int (M,), ascending: the image that each text describes.
        scale: s, the inverse of the temperature.
        batch_size: images in a batch.
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
    """The rank of the right class of each image.

    Args:
        logits: (N, C).
        labels: int (N,).

    Returns:
        int64 (N,): 0-based; `MISS` where a row's logits are not all finite.
    """
    ranks = first_hit_ranks(logits, labels[:, None])
    return torch.where(torch.isfinite(logits).all(dim=1), ranks, MISS)


def classification_metrics(ranks: Tensor, labels: Tensor, num_classes: int) -> dict[str, float]:
    """`acc1`, `acc5` (with fewer than 5 classes, the right one is always among them) and `mean_per_class_recall`.

    The last is the mean, over the classes that occur in `labels`, of the share of their images that are classified
    right. All are NaN where features were not finite.

    Args:
        ranks: int (N,), from `class_ranks`.
        labels: int (N,).
        num_classes: C.
    """
    if bool((ranks == MISS).any()):
        return dict.fromkeys(CLASSIFICATION_METRICS, math.nan)
    right = (ranks == 0).double()
    total = torch.bincount(labels, minlength=num_classes)
    hits = torch.bincount(labels, weights=right, minlength=num_classes)
    seen = total > 0
    per_class = (hits[seen] / total[seen]).mean().item()
    values = (recall_at(ranks, 1), recall_at(ranks, min(5, num_classes)), per_class)
    return dict(zip(CLASSIFICATION_METRICS, values))
