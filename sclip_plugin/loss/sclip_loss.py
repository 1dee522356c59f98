"""The S-CLIP loss (arXiv 2305.14095): supervised contrastive + caption level + keyword level (docs/method.md).

Legend: B paired samples, U unpaired images, K keywords, D width, W ranks; b and u are the rows that this rank computes.
N pairs in the whole set, k of them that an unpaired image draws from where its labels are known beforehand.
I (B, D) paired image features, T (B, D) their captions', Q (U, D) unpaired image features, G (K, D) keyword features,
all L2-normalised; A bool (B, K) keywords of each caption; s = exp(logit_scale), τ = 1/s.

The loss knows tensors only: no loader, no model, no command line.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import torch
from open_clip.loss import ClipLoss
from torch import Tensor

from sclip_plugin.loss import partial_labels, pseudo_labels
from sclip_plugin.loss.cross_entropy import at_least_float32, row_cross_entropy, supervised_and_caption
from sclip_plugin.loss.gather import Gradient, gather
from sclip_plugin.loss.settings import LossSettings


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


class Labels(NamedTuple):
    """What unpaired images draw their captions from, where that is known before training (ours).

    Attributes:
        rows: int64 (W·B,), rows of the batch's pairs in the set.
        nearest: int64 (u, k), rows of the pairs that an unpaired image draws from.
        weights: (u, k), how much it draws from each; a row sums to the trust in it.
    """

    rows: Tensor
    nearest: Tensor
    weights: Tensor


class Observation(NamedTuple):
    """What an observer sees of a step. All of it is still attached to the step's graph.

    Attributes:
        plan: P, the pseudo-captions, (u, W·B), whose rows sum to 1. Where they are known beforehand it is (u, N), and
            the rows sum to the trust in them.
        queries: the unpaired features that are the plan's rows, (u, D).
        keywords: G, (K, D); None without a keyword level.
        candidates: A, bool (W·B, K); None without a keyword level.
        scale: s, one-element tensor.
        losses: the terms of the loss by name, weighted, 0-dim each.
        trust: (u,), what each row of the plan counts; None: all count fully.
    """

    plan: Tensor
    queries: Tensor
    keywords: Tensor | None
    candidates: Tensor | None
    scale: Tensor
    losses: dict[str, Tensor]
    trust: Tensor | None = None


class SClipLoss(ClipLoss):
    """Semi-supervised CLIP loss, a drop-in for `open_clip.loss.ClipLoss`.

    Without unpaired features it is `ClipLoss`. In several processes the transport plan is one global plan over all
    ranks' samples. By default every rank computes the global loss from gathered features; with `local_loss` a rank
    computes its own rows, and the mean over ranks is the global loss.

    Args:
        local_loss, gather_with_grad, cache_labels, rank, world_size: as in `ClipLoss`.
        pseudo_label, sinkhorn_iterations, epsilon, caption_weight, keyword_weight, keyword_targets, detach_targets,
            candidates, pair_keyword_weight, unpaired_negatives: as in `LossSettings`, where each default has its
            source. `detach_targets=False` is for one process only.

    Attributes:
        settings: the `LossSettings`.
        observer: called with each step's `Observation`, for diagnostics; None: nobody looks.

    Raises:
        ValueError: an argument out of range, or a combination that cannot work; names it and the value received.

    Example:
        >>> import torch
        >>> from sclip_plugin import SClipLoss
        >>> def features(rows):
        ...     return torch.nn.functional.normalize(torch.randn(rows, 16), dim=-1)
        >>> _ = torch.manual_seed(0)
        >>> loss = SClipLoss()
        >>> terms = loss(
        ...     image_features=features(4),
        ...     text_features=features(4),
        ...     logit_scale=torch.tensor(10.0),
        ...     unpaired_features=features(6),
        ...     keyword_features=features(3),
        ...     keyword_candidates=torch.tensor([[1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 0]]).bool(),
        ...     output_dict=True,
        ... )
        >>> sorted(terms)
        ['caption_loss', 'contrastive_loss', 'keyword_loss']
    """

    def __init__(
        self,
        local_loss: bool = False,
        gather_with_grad: bool = False,
        cache_labels: bool = True,
        rank: int = 0,
        world_size: int = 1,
        *,
        pseudo_label: str = LossSettings.pseudo_label,
        sinkhorn_iterations: int = LossSettings.sinkhorn_iterations,
        epsilon: float | None = LossSettings.epsilon,
        caption_weight: float = LossSettings.caption_weight,
        keyword_weight: float = LossSettings.keyword_weight,
        keyword_targets: str = LossSettings.keyword_targets,
        detach_targets: bool = LossSettings.detach_targets,
        candidates: str = LossSettings.candidates,
        pair_keyword_weight: float = LossSettings.pair_keyword_weight,
        unpaired_negatives: bool = LossSettings.unpaired_negatives,
    ) -> None:
        settings = LossSettings(
            pseudo_label=pseudo_label,
            sinkhorn_iterations=sinkhorn_iterations,
            epsilon=epsilon,
            caption_weight=caption_weight,
            keyword_weight=keyword_weight,
            keyword_targets=keyword_targets,
            candidates=candidates,
            pair_keyword_weight=pair_keyword_weight,
            unpaired_negatives=unpaired_negatives,
            detach_targets=detach_targets,
        )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in 0 … world_size - 1, got rank={rank!r}, world_size={world_size!r}")
        if not detach_targets and world_size > 1:
            raise ValueError(f"detach_targets=False works in one process only, got world_size={world_size}")
        super().__init__(local_loss, gather_with_grad, cache_labels, rank, world_size)
        self.settings = settings
        self.observer: Callable[[Observation], None] | None = None
        self._captions: Tensor | None = None  # (N, D), features of all pairs' captions as they were last seen
        self._candidates: Tensor | None = None  # bool (N, K), the keywords of all pairs' captions

    def remember(self, captions: Tensor, candidates: Tensor | None = None) -> None:
        """Take features of the captions of all pairs, from which unpaired images with known labels draw (ours).

        With each batch the rows of its pairs are replaced by their live features. The others grow old, so that this
        should be called now and then, with the same features on all ranks.

        Args:
            captions: (N, D), L2-normalised.
            candidates: bool (N, K), which keywords each pair's captions hold; None: unpaired images learn no keywords.

        Raises:
            ValueError: no (rows, D) matrix, or candidates that do not fit.
        """
        if captions.ndim != 2 or captions.shape[0] == 0:
            raise ValueError(f"captions must be an (N, D) matrix with rows, got shape {tuple(captions.shape)}")
        if candidates is not None and (candidates.dtype != torch.bool or candidates.shape[:-1] != captions.shape[:1]):
            raise ValueError(
                f"candidates must be bool (N = {len(captions)}, K), got {candidates.dtype} {tuple(candidates.shape)}"
            )
        self._captions = at_least_float32(captions.detach())
        self._candidates = candidates

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
        pair_rows: Tensor | None = None,
        unpaired_nearest: Tensor | None = None,
        unpaired_weights: Tensor | None = None,
    ) -> Tensor | dict[str, Tensor]:
        """The terms of the loss, weighted.

        Args:
            image_features: I, (B, D).
            text_features: T, (B, D).
            logit_scale: s, one-element tensor.
            logit_bias: added to the logits (SigLIP-initialised models; softmax does not see it).
            unpaired_features: Q, (U, D); None: the loss is `ClipLoss`, with the pairs' own keyword term where
                `pair_keyword_weight` is above 0 and there are keywords.
            keyword_features: this rank's contiguous shard of G, (ceil(K/W), D), the last one padded; under accumulation
                A copies of it, (A·ceil(K/W), D), whose mean is used. None: no keyword level.
            keyword_candidates: A, bool (B, K).
            output_dict: return the dict rather than the sum of its values.
            pair_rows: int64 (B,), rows of the pairs in the set that `remember` was told of; with the next two. Then the
                caption level draws from all N pairs, by these labels, and so does the keyword level.
            unpaired_nearest: int64 (U, k), rows of the pairs that each unpaired image draws from.
            unpaired_weights: (U, k), how much it draws from each; a row sums to the trust in it, from 0 to 1.

        Returns:
            dict with 0-dim `contrastive_loss`, `caption_loss` and `keyword_loss` (the last two are absent where their
            inputs are), and `pair_keyword_loss` where its weight is above 0, or their sum. Gradient flows into all
            features and into s; the targets are constants.

        Raises:
            ValueError: shapes that do not fit, naming the argument.
        """
        keyed = keyword_features is not None or keyword_candidates is not None
        if unpaired_features is None:
            stock: dict[str, Tensor] = super().forward(image_features, text_features, logit_scale, logit_bias, True)
            if keyed and self.settings.pair_keyword_weight > 0:
                labels = self._keywords(keyword_features, keyword_candidates, image_features)
                stock["pair_keyword_loss"] = self._pair_keyword_level(self._rows(image_features), *labels, logit_scale)
            return stock if output_dict else _total(stock)
        _check_features(image_features, text_features, unpaired_features)
        view = self._view(image_features, text_features, unpaired_features)
        keywords = candidates = None
        if keyed:
            keywords, candidates = self._keywords(keyword_features, keyword_candidates, image_features)
        known = self._labels(pair_rows, unpaired_nearest, unpaired_weights, unpaired_features)
        if known is None:
            with torch.no_grad() if self.settings.detach_targets else nullcontext():
                plan = self._plan(view, logit_scale)
            losses = self._contrastive_and_caption(view, plan, logit_scale)
            candidates_of_plan, trust = candidates, None
        else:
            captions, plan = self._all_pairs(view, known)
            losses = self._contrastive_and_caption(view, None, logit_scale)
            losses["caption_loss"] = row_cross_entropy(logit_scale, at_least_float32(view.queries), captions, plan)
            candidates_of_plan, trust = self._candidates, plan.sum(dim=1)
        losses["caption_loss"] = self.settings.caption_weight * losses["caption_loss"]
        if logit_bias is not None:  # softmax does not see it; DDP wants a gradient for each parameter
            losses["contrastive_loss"] = losses["contrastive_loss"] + 0 * logit_bias.sum()
        if keywords is not None and candidates_of_plan is not None:
            losses["keyword_loss"] = self.settings.keyword_weight * self._keyword_level(
                view.queries, keywords, candidates_of_plan, plan, trust, logit_scale
            )
        if keywords is not None and candidates is not None and self.settings.pair_keyword_weight > 0:
            losses["pair_keyword_loss"] = self._pair_keyword_level(view.images, keywords, candidates, logit_scale)
        if self.observer is not None:
            self.observer(Observation(plan, view.queries, keywords, candidates_of_plan, logit_scale, losses, trust))
        return losses if output_dict else _total(losses)

    def _labels(
        self, rows: Tensor | None, nearest: Tensor | None, weights: Tensor | None, queries: Tensor
    ) -> Labels | None:
        """The labels for this rank's rows of the loss; None where none are given."""
        if rows is None and nearest is None and weights is None:
            return None
        if rows is None or nearest is None or weights is None:
            raise ValueError("pair_rows, unpaired_nearest and unpaired_weights go together: one of them is missing")
        if self._captions is None:
            raise ValueError("unpaired_nearest needs the captions of all pairs: call remember(captions) first")
        if nearest.shape != weights.shape or nearest.ndim != 2 or len(nearest) != len(queries):
            raise ValueError(
                f"unpaired_nearest and unpaired_weights must be (U = {len(queries)}, k), got shapes "
                f"{tuple(nearest.shape)} and {tuple(weights.shape)}"
            )
        everybody = gather(rows, rank=self.rank, world_size=self.world_size, gradient="none")
        if self.local_loss:
            return Labels(everybody, nearest, weights)
        mine = (gather(one, rank=self.rank, world_size=self.world_size, gradient="none") for one in (nearest, weights))
        return Labels(everybody, *mine)

    def _all_pairs(self, view: _View, labels: Labels) -> tuple[Tensor, Tensor]:
        """M (N, D), captions of all pairs, of which the batch's own are live, and P (u, N) over them (ours)."""
        assert self._captions is not None, "_labels has looked"
        texts = self._captions.index_copy(0, labels.rows, view.all_texts.to(self._captions.dtype))
        self._captions = texts.detach()
        plan = texts.new_zeros(len(view.queries), len(texts))
        return texts, plan.scatter_add_(1, labels.nearest, labels.weights.to(texts.dtype))

    def _view(self, images: Tensor, texts: Tensor, queries: Tensor) -> _View:
        if self.world_size == 1:
            return _View(images, texts, queries, images, texts, queries, 0)
        otherwise: Gradient = "none" if self.local_loss else "own"
        all_images, all_texts, all_queries = (self._gather(tensor, otherwise) for tensor in (images, texts, queries))
        if self.local_loss:
            return _View(images, texts, queries, all_images, all_texts, all_queries, self.rank * images.shape[0])
        return _View(all_images, all_texts, all_queries, all_images, all_texts, all_queries, 0)

    def _rows(self, tensor: Tensor) -> Tensor:
        """The rows of a feature matrix that this rank's loss is computed over."""
        return tensor if self.local_loss else self._gather(tensor, "own")

    def _gather(self, tensor: Tensor, otherwise: Gradient) -> Tensor:
        gradient: Gradient = "all" if self.gather_with_grad else otherwise
        return gather(tensor, rank=self.rank, world_size=self.world_size, gradient=gradient)

    def _contrastive_and_caption(self, view: _View, plan: Tensor | None, scale: Tensor) -> dict[str, Tensor]:
        """L_clip, and L_cap without its weight where there is a plan.

        The unpaired images are extra negatives for each caption (authors' code), unless the settings say otherwise.
        """
        negatives = self.settings.unpaired_negatives
        if view.texts is view.all_texts and negatives and (plan is None or not plan.requires_grad):
            contrastive, caption = supervised_and_caption(scale, view.images, view.texts, view.queries, plan)
        else:
            columns = torch.cat([view.all_images, view.all_queries]) if negatives else view.all_images
            image_loss = row_cross_entropy(scale, view.images, view.all_texts, view.first)
            contrastive = (image_loss + row_cross_entropy(scale, view.texts, columns, view.first)) / 2
            caption = None if plan is None else row_cross_entropy(scale, view.queries, view.all_texts, plan)
        return {"contrastive_loss": contrastive} | ({} if caption is None else {"caption_loss": caption})

    def _plan(self, view: _View, scale: Tensor) -> Tensor:
        """P (u, W·B), this rank's rows of the global plan."""
        settings = self.settings
        return pseudo_labels.pseudo_labels(
            settings.pseudo_label,
            view.queries,
            view.all_images if settings.supports_images else view.all_texts,
            scale,
            epsilon=settings.epsilon,
            iterations=settings.sinkhorn_iterations,
            world_size=self.world_size if self.local_loss else 1,
        )

    def _keywords(self, features: Tensor | None, candidates: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor]:
        """G (K, D) and A (W·B, K) of all ranks."""
        features, candidates = _check_keywords(features, candidates, like, self.world_size)
        count = candidates.shape[1]
        shard = -(-count // self.world_size)
        if features.shape[0] != shard:  # accumulation: the same keywords, once per micro-batch
            features = features.reshape(-1, shard, features.shape[1]).mean(dim=0)
        keywords = self._gather(features, "all" if self.local_loss else "own")
        keywords = keywords if len(keywords) == count else keywords[:count]  # the last shard is padded
        return keywords, gather(candidates, rank=self.rank, world_size=self.world_size, gradient="none")

    def _keyword_level(
        self,
        queries: Tensor,
        keywords: Tensor,
        candidates: Tensor,
        plan: Tensor,
        trust: Tensor | None,
        scale: Tensor,
    ) -> Tensor:
        """L_kw without its weight: cross-entropy against weights over the nearest caption's keywords.

        The weights are constants in every case, as in the authors' code. With candidates `plan` they are the keywords
        of all captions that the image draws from (ours); what it draws from captions without keywords is left out.

        Args:
            queries: rows of Q, (u, D).
            keywords: G, (K, D).
            candidates: the keywords of the plan's columns, bool (M, K).
            plan: (u, M), whose rows sum to 1, or to the trust in them.
            trust: (u,), what each row of the plan counts; None: all count fully.
            scale: s.
        """
        with torch.no_grad():
            cosines = queries @ keywords.T
            cosine = at_least_float32(cosines)
            if self.settings.candidates == "plan":
                targets = plan.detach().to(cosine.dtype) @ partial_labels.own_keywords(candidates, cosine.dtype)
            else:
                sets = partial_labels.candidate_sets(plan, candidates)
                targets = partial_labels.keyword_targets(self.settings.keyword_targets, cosine, scale, sets)
                if trust is not None:
                    targets = trust.unsqueeze(1) * targets
        return row_cross_entropy(scale, queries, keywords, targets, cosines)

    def _pair_keyword_level(self, images: Tensor, keywords: Tensor, candidates: Tensor, scale: Tensor) -> Tensor:
        """L_pair: each paired image learns its own caption's keywords, in equal parts (ours).

        The mean is over the pairs, of all ranks, whose caption holds a keyword.

        Args:
            images: rows of I, (b, D).
            keywords: G, (K, D).
            candidates: A of all ranks, bool (W·B, K).
            scale: s.
        """
        first = self.rank * len(images) if len(images) < len(candidates) else 0
        targets = partial_labels.own_keywords(candidates[first : first + len(images)], at_least_float32(images).dtype)
        # under local_loss a rank has 1/W of the rows, and the mean over ranks is to be the mean over rows
        share = len(candidates) / len(images)
        counted = candidates.any(dim=1).sum().clamp(min=1)
        total = len(images) * row_cross_entropy(scale, images, keywords, targets)
        return self.settings.pair_keyword_weight * share * total / counted


def _total(losses: dict[str, Tensor]) -> Tensor:
    total, *rest = losses.values()
    for term in rest:
        total = total + term
    return total


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


def _check_keywords(
    features: Tensor | None, candidates: Tensor | None, images: Tensor, world_size: int
) -> tuple[Tensor, Tensor]:
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
    return features, candidates
