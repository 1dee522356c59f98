"""The pseudo-captions and keywords that a model gives to unpaired images, as training would with the same pairs.

Legend: B pairs, U unpaired images, K keywords, D width, N pictures.
"""

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from sclip_plugin.diagnostics.measures import entropy, keyword_measures, label_measures
from sclip_plugin.evaluation.features import Encoder, evaluating
from sclip_plugin.evaluation.models import Preprocess
from sclip_plugin.inspection.pictures import Picture
from sclip_plugin.keywords import Vocabulary
from sclip_plugin.loss import partial_labels, pseudo_labels
from sclip_plugin.loss.settings import LossSettings

SHOWN = 3  # captions, and keywords, that are kept of an image


@dataclass(frozen=True)
class LabelledImage:
    """An unpaired image with its heaviest pseudo-captions and keywords.

    Attributes:
        picture: the image.
        captions: (caption, weight), the heaviest first.
        sources: the paired images that these captions belong to.
        keywords: (keyword, weight), the heaviest first; empty where the image has no candidate keyword, None without a
            keyword level.
        effective_captions: how many captions the image draws from: the exponential of the weights' entropy.
    """

    picture: Picture
    captions: list[tuple[str, float]]
    sources: list[Picture]
    keywords: list[tuple[str, float]] | None
    effective_captions: float


def label_images(
    encoder: Encoder,
    preprocess: Preprocess,
    pairs: list[Picture],
    unpaired: list[Picture],
    *,
    settings: LossSettings | None = None,
    vocabulary: Vocabulary | None = None,
    keyword_template: str = "{}",
    shown: int = 6,
    batch_size: int = 64,
) -> tuple[list[LabelledImage], dict[str, float]]:
    """Label unpaired images; the pseudo-captions are shared out between all the pairs and all the images given.

    One of a pair's captions is drawn, as in training, but always the same one. The model is in eval mode meanwhile.

    Args:
        encoder: the model.
        preprocess: PIL image → (3, H, W).
        pairs: B pictures with captions.
        unpaired: U pictures.
        settings: the rules of the labels, and their numbers; default: the loss's defaults.
        vocabulary: the keywords; None: no keyword level.
        keyword_template: the prompt around each keyword, with `{}` for the keyword.
        shown: labelled images that are returned, evenly spaced over the unpaired images.
        batch_size: pictures, and texts, in a forward pass.

    Returns:
        The labelled images, and the figures of `diagnostics.measures` over all U images.
    """
    settings = settings or LossSettings()
    captions = drawn_captions(pairs)
    targets: Tensor | None = None
    with evaluating(encoder.model), torch.inference_mode():
        queries = encode_pictures(encoder, preprocess, unpaired, batch_size)
        if settings.supports_images:
            support = encode_pictures(encoder, preprocess, pairs, batch_size)
        else:
            support = encoder.texts_in_batches(captions, batch_size)
        plan = _plan(settings, queries, support, encoder.scale())
        figures = label_measures(plan)
        if vocabulary is not None:
            prompts = [keyword_template.replace("{}", keyword) for keyword in vocabulary]
            keywords = encoder.texts_in_batches(prompts, batch_size)
            candidates = torch.stack([vocabulary.matches(caption) for caption in captions]).to(plan.device)
            figures |= keyword_measures(plan, candidates, queries, keywords, encoder.scale())
            targets = _targets(settings, plan, candidates, queries @ keywords.T, encoder.scale())
    figures.pop("commonest_index", None)
    rows = torch.linspace(0, len(unpaired) - 1, min(shown, len(unpaired))).round().long().tolist()
    sources = list(zip(pairs, captions))
    labelled = [_labelled(unpaired, row, plan, sources, targets, list(vocabulary or ())) for row in rows]
    return labelled, {name: value.item() for name, value in figures.items()}


def drawn_captions(pairs: list[Picture]) -> list[str]:
    """A caption of each pair, drawn with equal chances from all of its captions; the same for the same pairs."""
    rng = random.Random(0)
    return [rng.choice(pair.captions) for pair in pairs]


def _plan(settings: LossSettings, queries: Tensor, support: Tensor, scale: Tensor) -> Tensor:
    """P (U, B) from features (U, D) and (B, D)."""
    return pseudo_labels.pseudo_labels(
        settings.pseudo_label,
        queries,
        support,
        scale,
        epsilon=settings.epsilon,
        iterations=settings.sinkhorn_iterations,
    )


def _targets(settings: LossSettings, plan: Tensor, candidates: Tensor, cosine: Tensor, scale: Tensor) -> Tensor:
    """R (U, K): weights over the candidate keywords of each image."""
    sets = partial_labels.candidate_sets(plan, candidates)
    return partial_labels.keyword_targets(settings.keyword_targets, cosine, scale, sets)


def _labelled(
    unpaired: list[Picture],
    row: int,
    plan: Tensor,
    sources: list[tuple[Picture, str]],
    targets: Tensor | None,
    keywords: list[str],
) -> LabelledImage:
    nearest = _heaviest(plan[row], len(sources))
    return LabelledImage(
        picture=unpaired[row],
        captions=[(sources[j][1], weight) for j, weight in nearest],
        sources=[sources[j][0] for j, _ in nearest],
        keywords=None if targets is None else [(keywords[k], w) for k, w in _heaviest(targets[row], len(keywords))],
        effective_captions=entropy(plan[row]).exp().item(),
    )


def _heaviest(weights: Tensor, count: int) -> list[tuple[int, float]]:
    """(place, weight) of the largest of so many weights, those above 0, the heaviest first."""
    found = weights.topk(min(SHOWN, count))
    return [(j, weight) for weight, j in zip(found.values.tolist(), found.indices.tolist()) if weight > 0]


def encode_pictures(encoder: Encoder, preprocess: Preprocess, pictures: list[Picture], batch_size: int) -> Tensor:
    """(N, D): features of N pictures, N ≥ 1."""
    batches = [pictures[first : first + batch_size] for first in range(0, len(pictures), batch_size)]
    return torch.cat([encoder.images(torch.stack([preprocess(one.open()) for one in batch])) for batch in batches])
