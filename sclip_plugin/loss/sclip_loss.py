"""The S-CLIP loss (arXiv 2305.14095): supervised contrastive + caption level + keyword level.

Legend: B paired samples, U unpaired images, K keywords, D width, W ranks.
I (B, D) paired image features, T (B, D) their captions', Q (U, D) unpaired image features, G (K, D) keyword features,
all L2-normalised; A bool (B, K) keywords of each caption; s = exp(logit_scale), τ = 1/s.

The loss knows tensors only: no loader, no model, no command line.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import torch
from open_clip.loss import ClipLoss
from torch import Tensor

from sclip_plugin.loss import partial_labels
from sclip_plugin.loss import pseudo_labels as caption_labels
from sclip_plugin.loss.gather import gather
from sclip_plugin.loss.transport import at_least_float32


class _View(NamedTuple):
    """What this rank's loss is computed over: its rows against everybody's columns.

    In one process and in the gathered mode the rows are the columns; under `local_loss` they are this rank's own.
    """

    images: Tensor  # rows, (b, D)
    texts: Tensor  # rows, (b, D)
    queries: Tensor  # rows, (u, D)
    all_images: Tensor  # columns, (W·B, D)
    all_texts: Tensor  # columns, (W·B, D)
    all_queries: Tensor  # columns, (W·U, D)
    first: int  # column of the first row's own pair


class Observation(NamedTuple):
    """What an observer sees of a step; all of it still attached to the step's graph."""

    plan: Tensor  # P, (u, W·B)
    queries: Tensor  # the plan's rows, (u, D)
    keywords: Tensor | None  # G, (K, D)
    candidates: Tensor | None  # A, (W·B, K)
    scale: Tensor
    losses: dict[str, Tensor]


class SClipLoss(ClipLoss):
    """Semi-supervised CLIP loss, a drop-in for `open_clip.loss.ClipLoss`.

    Without unpaired features it is `ClipLoss`. In several processes the transport plan is one global plan over all
    ranks' samples: gathered (default: every rank computes the global loss) or `local_loss` (a rank computes its own
    rows; the mean over ranks is the global loss).

    Args:
        local_loss, gather_with_grad, cache_labels, rank, world_size: as in `ClipLoss`.
        pseudo_label: one of `sclip_plugin.loss.pseudo_labels.CHOICES`; "ot-image" is the paper's.
        sinkhorn_iterations: updates of the transport plan; 10 is the authors' code's.
        epsilon: entropic regularisation of the transport; default: the learned temperature τ (paper). Only `ot-*`.
        caption_weight, keyword_weight: weights of the two terms, ≥ 0; 0.5 each is the authors' code's.
        keyword_targets: one of `loss.partial_labels.CHOICES`; "similarity" is the authors' code's, clamped.
        detach_targets: targets are constants (METHOD). False lets gradient run through them as the authors' code
            does, for study; one process only.

    Raises:
        ValueError: an argument out of range, or a combination that cannot work; names it and the value received.
    """

    def __init__(
        self,
        local_loss: bool = False,
        gather_with_grad: bool = False,
        cache_labels: bool = True,
        rank: int = 0,
        world_size: int = 1,
        *,
        pseudo_label: str = "ot-image",
        sinkhorn_iterations: int = 10,
        epsilon: float | None = None,
        caption_weight: float = 0.5,
        keyword_weight: float = 0.5,
        keyword_targets: str = "similarity",
        detach_targets: bool = True,
    ):
        _one_of("pseudo_label", pseudo_label, caption_labels.CHOICES)
        _one_of("keyword_targets", keyword_targets, partial_labels.CHOICES)
        if isinstance(sinkhorn_iterations, bool) or not isinstance(sinkhorn_iterations, int) or sinkhorn_iterations < 0:
            raise ValueError(f"sinkhorn_iterations must be a whole number ≥ 0, got {sinkhorn_iterations!r}")
        if epsilon is not None and not (epsilon > 0 and math.isfinite(epsilon)):
            raise ValueError(f"epsilon must be a finite number > 0, got {epsilon!r}")
        if epsilon is not None and not pseudo_label.startswith("ot-"):
            raise ValueError(f"epsilon={epsilon!r} has no effect with pseudo_label={pseudo_label!r}: only ot-* use it")
        for name, weight in (("caption_weight", caption_weight), ("keyword_weight", keyword_weight)):
            if not (weight >= 0 and math.isfinite(weight)):
                raise ValueError(f"{name} must be a finite number ≥ 0, got {weight!r}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in 0 … world_size - 1, got rank={rank!r}, world_size={world_size!r}")
        if not detach_targets and world_size > 1:
            raise ValueError(f"detach_targets=False works in one process only, got world_size={world_size}")
        super().__init__(local_loss, gather_with_grad, cache_labels, rank, world_size)
        self.pseudo_label = pseudo_label
        self.sinkhorn_iterations = sinkhorn_iterations
        self.epsilon = epsilon
        self.caption_weight = caption_weight
        self.keyword_weight = keyword_weight
        self.keyword_targets = keyword_targets
        self.detach_targets = detach_targets
        self.observer: Callable[[Observation], None] | None = None  # called with each step's tensors, for diagnostics

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor,
        logit_bias: Tensor | None = None,
        unpaired_features: Tensor | None = None,
        keyword_features: Tensor | None = None,
        keyword_candidates: Tensor | None = None,
        output_dict: bool = False,
    ):
        """The terms of the loss, weighted.

        Args:
            image_features: I, (B, D). text_features: T, (B, D). unpaired_features: Q, (U, D).
            logit_scale: s, one-element tensor. logit_bias: added to the logits (SigLIP-initialised models; softmax
                does not see it).
            keyword_features: this rank's contiguous shard of G, (ceil(K/W), D), the last one padded; under
                accumulation A copies of it, (A·ceil(K/W), D), whose mean is used.
            keyword_candidates: A, bool (B, K).
            output_dict: return the dict rather than the sum of its values.

        Returns:
            dict with 0-dim `contrastive_loss`, `caption_loss`, `keyword_loss` (the last two absent where their inputs
            are), or their sum. Gradient flows into all features and into s; the targets P and R are constants.

        Raises:
            ValueError: shapes that do not fit, naming the argument.
        """
        if unpaired_features is None:
            return super().forward(image_features, text_features, logit_scale, logit_bias, output_dict)
        _check_features(image_features, text_features, unpaired_features)
        view = self._view(image_features, text_features, unpaired_features)
        losses, caption_logits = self._contrastive(view, logit_scale, logit_bias)
        with nullcontext() if not self.detach_targets else torch.no_grad():
            plan = self._plan(view, logit_scale)
        losses["caption_loss"] = self.caption_weight * soft_cross_entropy(caption_logits, plan)
        keywords = candidates = None
        if keyword_features is not None or keyword_candidates is not None:
            keywords, candidates = self._keywords(keyword_features, keyword_candidates, image_features)
            losses["keyword_loss"] = self.keyword_weight * self._keyword_level(
                view.queries, keywords, candidates, plan, logit_scale
            )
        if self.observer is not None:
            self.observer(Observation(plan, view.queries, keywords, candidates, logit_scale, losses))
        return losses if output_dict else sum(losses.values())

    def _view(self, images: Tensor, texts: Tensor, queries: Tensor) -> _View:
        if self.world_size == 1:
            return _View(images, texts, queries, images, texts, queries, 0)
        everybody = [self._gather(tensor, "none" if self.local_loss else "own") for tensor in (images, texts, queries)]
        if self.local_loss:
            return _View(images, texts, queries, *everybody, self.rank * images.shape[0])
        return _View(*everybody, *everybody, 0)

    def _gather(self, tensor: Tensor, otherwise: str) -> Tensor:
        gradient = "all" if self.gather_with_grad else otherwise
        return gather(tensor, rank=self.rank, world_size=self.world_size, gradient=gradient)

    def _contrastive(self, view: _View, scale: Tensor, bias: Tensor | None) -> tuple[dict, Tensor]:
        """L_clip, the unpaired images being extra negatives for each caption (authors' code), and s·Q·Tᵀ (u, W·B)."""
        pairs = view.images.shape[0]
        # one product serves the image rows, the caption level and, where the rows are the columns, the text rows
        by_image = _logits(torch.cat([view.images, view.queries]), scale * view.all_texts, bias)
        # split, not slices: its backward joins the two gradients where slices would pad each with zeros and add
        by_paired, by_unpaired = by_image.split([pairs, view.queries.shape[0]])
        positives = torch.diagonal(by_paired, offset=view.first)
        image_loss = (torch.logsumexp(by_paired, dim=1) - positives).mean()
        if view.texts is view.all_texts:
            text_loss = (torch.logsumexp(by_image, dim=0) - positives).mean()
        else:
            by_text = _logits(scale * view.texts, torch.cat([view.all_images, view.all_queries]), bias)
            text_loss = (torch.logsumexp(by_text, dim=1) - torch.diagonal(by_text, offset=view.first)).mean()
        return {"contrastive_loss": (image_loss + text_loss) / 2}, by_unpaired

    def _plan(self, view: _View, scale: Tensor) -> Tensor:
        """P (u, W·B), the global plan's rows."""
        return caption_labels.pseudo_labels(
            self.pseudo_label,
            view.queries,
            view.all_images if self.pseudo_label.endswith("-image") else view.all_texts,
            scale,
            epsilon=self.epsilon,
            iterations=self.sinkhorn_iterations,
            world_size=self.world_size if self.local_loss else 1,
        )

    def _keywords(self, features: Tensor | None, candidates: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor]:
        """G (K, D) and A (W·B, K) of all ranks."""
        _check_keywords(features, candidates, like, self.world_size)
        count = candidates.shape[1]
        shard = -(-count // self.world_size)
        if features.shape[0] != shard:  # accumulation: the same keywords, once per micro-batch
            features = features.unflatten(0, (-1, shard)).mean(dim=0)
        keywords = self._gather(features, "all" if self.local_loss else "own")[:count]
        return keywords, gather(candidates, rank=self.rank, world_size=self.world_size, gradient="none")

    def _keyword_level(
        self, queries: Tensor, keywords: Tensor, candidates: Tensor, plan: Tensor, scale: Tensor
    ) -> Tensor:
        """L_kw without its weight: cross-entropy against weights over the nearest caption's keywords."""
        cosine = at_least_float32(queries @ keywords.T)
        targets = partial_labels.keyword_targets(
            self.keyword_targets,
            cosine.detach() if self.detach_targets else cosine,
            scale.detach() if self.detach_targets else scale,
            partial_labels.candidate_sets(plan, candidates),
        )
        return soft_cross_entropy(scale * cosine, targets)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """0-dim: mean over rows of −Σ targets·log_softmax(logits); both (N, M). A row of zero targets adds 0."""
    mass = targets.sum(dim=1)
    return (mass * torch.logsumexp(logits, dim=1) - (targets * logits).sum(dim=1)).mean()


def _logits(rows: Tensor, columns: Tensor, bias: Tensor | None) -> Tensor:
    """(N, M) products of (N, D) and (M, D) in autocast's type, raised to at least float32."""
    logits = rows @ columns.T
    return at_least_float32(logits if bias is None else logits + bias)


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def _check_features(images: Tensor, texts: Tensor, queries: Tensor) -> None:
    for name, tensor in (("image_features", images), ("text_features", texts), ("unpaired_features", queries)):
        if tensor.ndim != 2 or tensor.shape[0] == 0:
            raise ValueError(f"{name} must be a (rows, D) matrix with rows, got shape {tuple(tensor.shape)}")
        if tensor.shape[1] != images.shape[1]:
            raise ValueError(f"{name} must have D = {images.shape[1]} columns, got shape {tuple(tensor.shape)}")
    if texts.shape[0] != images.shape[0]:
        raise ValueError(
            f"text_features must have as many rows as image_features ({images.shape[0]}), got {texts.shape[0]}"
        )


def _check_keywords(features: Tensor | None, candidates: Tensor | None, images: Tensor, world_size: int) -> None:
    if features is None or candidates is None:
        missing = "keyword_features" if features is None else "keyword_candidates"
        raise ValueError(f"{missing} is missing: the keyword level takes keyword_features and keyword_candidates")
    if candidates.dtype != torch.bool or candidates.ndim != 2 or candidates.shape[1] == 0:
        raise ValueError(
            f"keyword_candidates must be a bool (B, K) matrix, got {candidates.dtype} {tuple(candidates.shape)}"
        )
    if candidates.shape[0] != images.shape[0]:
        raise ValueError(f"keyword_candidates must have B = {images.shape[0]} rows, got {candidates.shape[0]}")
    shard = -(-candidates.shape[1] // world_size)
    if features.ndim != 2 or features.shape[1] != images.shape[1] or features.shape[0] % shard or not len(features):
        raise ValueError(
            f"keyword_features must be (ceil(K/W) = {shard}, D = {images.shape[1]}) or copies of it, "
            f"got shape {tuple(features.shape)}"
        )
