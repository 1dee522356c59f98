"""A slow, plain transcription of METHOD.md's loss: one process, loops over samples and keywords, no tricks.

Legend: B pairs, U unpaired images, K keywords, D width. `I` (B, D), `T` (B, D), `Q` (U, D), `G` (K, D) are the
L2-normalised features of paired images, captions, unpaired images and keywords; `A` (B, K) says which keyword occurs in
which caption; `s` is the logit scale (already exponentiated), tau = 1 / s.
"""

from dataclasses import dataclass

import torch

PSEUDO_LABELS = ("ot-image", "ot-text", "soft-image", "soft-text", "hard-image", "hard-text")
KEYWORD_TARGETS = ("similarity", "softmax", "uniform")


@dataclass(frozen=True)
class Settings:
    """The options of the loss under SClipLoss's names and defaults."""

    pseudo_label: str = "ot-image"
    sinkhorn_iterations: int = 10
    epsilon: float | None = None
    caption_weight: float = 0.5
    keyword_weight: float = 0.5
    keyword_targets: str = "similarity"
    candidates: str = "nearest"
    detach_targets: bool = True
    pair_keyword_weight: float = 0.0
    unpaired_negatives: bool = True


@dataclass(frozen=True)
class Labels:
    """What unpaired images draw from where it is known beforehand: `rows` (B,) are the batch's pairs among the N of
    the set, `nearest` (U, k) the rows that an image draws from, `weights` (U, k) how much, `captions` (N, D) the
    features of all captions, of which the batch's own are replaced by T, and `candidates` (N, K) their keywords.
    """

    rows: torch.Tensor
    nearest: torch.Tensor
    weights: torch.Tensor
    captions: torch.Tensor
    candidates: torch.Tensor | None = None


@dataclass(frozen=True)
class Columns:
    """What stands as columns of the similarity matrices where that differs from the rows (detached copies, say)."""

    images: torch.Tensor
    texts: torch.Tensor
    unpaired: torch.Tensor


def sinkhorn(cost, epsilon, iterations):
    """Row-normalised plan (U, B) of entropic transport between uniform marginals, by scaling in the log domain."""
    num_rows, num_columns = cost.shape
    kernel = -cost / epsilon
    row, column = [0.0] * num_rows, [0.0] * num_columns
    for _ in range(iterations):
        for j in range(num_columns):
            mass = torch.logsumexp(torch.stack([row[i] + kernel[i, j] for i in range(num_rows)]), 0)
            column[j] = -torch.log(torch.tensor(float(num_columns), dtype=cost.dtype)) - mass
        for i in range(num_rows):
            mass = torch.logsumexp(torch.stack([column[j] + kernel[i, j] for j in range(num_columns)]), 0)
            row[i] = -torch.log(torch.tensor(float(num_rows), dtype=cost.dtype)) - mass
    plan = []
    for i in range(num_rows):
        masses = torch.stack([torch.exp(row[i] + column[j] + kernel[i, j]) for j in range(num_columns)])
        plan.append(masses / masses.sum())
    return torch.stack(plan)


def pseudo_labels(images, texts, unpaired, s, settings):
    """Target distribution (U, B) of each unpaired image over the captions."""
    method, support_name = settings.pseudo_label.split("-")
    support = images if support_name == "image" else texts
    similarity = torch.stack([torch.stack([torch.dot(q, x) for x in support]) for q in unpaired])
    if method == "ot":
        epsilon = 1 / s if settings.epsilon is None else settings.epsilon
        return sinkhorn(1 - similarity, epsilon, settings.sinkhorn_iterations)
    if method == "soft":
        return torch.stack([torch.softmax(s * row, 0) for row in similarity])
    plan = torch.zeros_like(similarity)
    for u, row in enumerate(similarity):
        plan[u, row.argmax()] = 1.0
    return plan


def keyword_weights(cosines, candidates, s, kind):
    """Target weights (K,) of one unpaired image over its candidate keywords; all zero where it has none."""
    chosen = [k for k in range(len(candidates)) if candidates[k]]
    weights = torch.zeros_like(cosines)
    if not chosen:
        return weights
    if kind == "similarity":
        raw = {k: max(cosines[k].item(), 0.0) for k in chosen}
    elif kind == "softmax":
        top = max(cosines[k].item() for k in chosen)
        raw = {k: torch.exp(s * (cosines[k] - top)).item() for k in chosen}
    else:
        raw = dict.fromkeys(chosen, 1.0)
    total = sum(raw.values())
    for k in chosen:
        weights[k] = raw[k] / total if total > 0 else 1 / len(chosen)
    return weights


def cross_entropy(rows, columns, s, targets, bias=0.0):
    """Mean over rows of -sum(target * log softmax(s * row . column + bias))."""
    total = 0.0
    for row, target in zip(rows, targets):
        logits = torch.stack([s * torch.dot(row, column) + bias for column in columns])
        log_probability = logits - torch.logsumexp(logits, 0)
        total = total - sum(target[j] * log_probability[j] for j in range(len(columns)))
    return total / len(rows)


def contrastive(images, texts, unpaired, s, columns, bias, extra=True):
    """Supervised term: the unpaired images are extra negatives of each caption."""
    alone = unpaired is None or not extra
    negatives = columns.images if alone else torch.cat([columns.images, columns.unpaired])
    by_image = torch.eye(len(images), len(columns.texts), dtype=images.dtype)
    by_text = torch.eye(len(texts), len(negatives), dtype=images.dtype)
    return 0.5 * (
        cross_entropy(images, columns.texts, s, by_image, bias) + cross_entropy(texts, negatives, s, by_text, bias)
    )


def pair_keywords(images, s, keywords, candidates):
    """Mean over the pairs that have a keyword of the cross-entropy against their own keywords, in equal parts."""
    total, counted = 0.0 * s, 0
    for image, own in zip(images, candidates):
        chosen = [k for k in range(len(keywords)) if own[k]]
        if chosen:
            weights = [1 / len(chosen) if k in chosen else 0.0 for k in range(len(keywords))]
            total = total + cross_entropy([image], keywords, s, [torch.tensor(weights, dtype=images.dtype)])
            counted += 1
    return total / max(1, counted)


def drawn_from_all_pairs(unpaired, texts, s, labels):
    """Mean over the unpaired images of their trust times the cross-entropy over the captions of all pairs."""
    captions = list(labels.captions)
    for row, text in zip(labels.rows.tolist(), texts):
        captions[row] = text
    return cross_entropy(unpaired, captions, s, drawn(labels))


def drawn(labels):
    """(U, N): how much each image draws from each pair."""
    targets = torch.zeros(len(labels.nearest), len(labels.captions), dtype=labels.weights.dtype)
    for target, nearest, weights in zip(targets, labels.nearest.tolist(), labels.weights):
        for row, weight in zip(nearest, weights):
            target[row] += weight
    return targets


def keyword_level(unpaired, keywords, candidates, plan, s, settings, trusted=False):
    """Cross-entropy of each unpaired image over the keywords."""
    targets = []
    with torch.no_grad():
        for u in range(len(unpaired)):
            if settings.candidates == "plan":
                target = torch.zeros(len(keywords), dtype=unpaired.dtype)
                for weight, own in zip(plan[u], candidates):
                    for k in range(len(keywords)):
                        if own[k]:
                            target[k] += weight / own.sum()
            else:
                cosines = torch.stack([torch.dot(unpaired[u], g) for g in keywords])
                target = keyword_weights(cosines, candidates[int(plan[u].argmax())], s, settings.keyword_targets)
                if trusted:
                    target = target * sum(plan[u])
            targets.append(target)
    return cross_entropy(unpaired, keywords, s, targets)


def reference_loss(
    images,
    texts,
    s,
    unpaired=None,
    keywords=None,
    candidates=None,
    settings=Settings(),
    bias=0.0,
    columns=None,
    labels=None,
):
    """The terms of the loss, as a dict of 0-dim tensors under SClipLoss's names."""
    columns = columns or Columns(images, texts, unpaired)
    terms = {"contrastive_loss": contrastive(images, texts, unpaired, s, columns, bias, settings.unpaired_negatives)}
    if keywords is not None and settings.pair_keyword_weight > 0:
        own = pair_keywords(images, s, keywords, candidates)
    if unpaired is None:
        if keywords is not None and settings.pair_keyword_weight > 0:
            terms["pair_keyword_loss"] = settings.pair_keyword_weight * own
        return terms
    if labels is not None:
        terms["caption_loss"] = settings.caption_weight * drawn_from_all_pairs(unpaired, columns.texts, s, labels)
        if keywords is not None:
            terms["keyword_loss"] = settings.keyword_weight * keyword_level(
                unpaired, keywords, labels.candidates, drawn(labels), s, settings, trusted=True
            )
            if settings.pair_keyword_weight > 0:
                terms["pair_keyword_loss"] = settings.pair_keyword_weight * own
        return terms
    with torch.set_grad_enabled(not settings.detach_targets):
        plan = pseudo_labels(images, texts, unpaired, s, settings)
    terms["caption_loss"] = settings.caption_weight * cross_entropy(unpaired, columns.texts, s, plan)
    if keywords is None:
        return terms
    terms["keyword_loss"] = settings.keyword_weight * keyword_level(unpaired, keywords, candidates, plan, s, settings)
    if settings.pair_keyword_weight > 0:
        terms["pair_keyword_loss"] = settings.pair_keyword_weight * own
    return terms
