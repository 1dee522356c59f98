"""The pseudo-captions and keywords that a model gives to unpaired images, as training would with the same pairs.

Legend: B pairs, U unpaired images, K keywords, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sclip_plugin.diagnostics.measures import keyword_measures, label_measures
from sclip_plugin.evaluation.features import Encoder, evaluating
from sclip_plugin.inspection.pictures import Picture
from sclip_plugin.loss import partial_labels, pseudo_labels

SHOWN = 3  # captions and keywords of a card


@dataclass(frozen=True)
class LabelledImage:
    """An unpaired image with its heaviest pseudo-captions and keywords, and how many captions it draws from.

    keywords: None without a keyword level, empty where the image has no candidate.
    """

    picture: Picture
    captions: list[tuple[str, float]]
    keywords: list[tuple[str, float]] | None
    effective_captions: float


@dataclass(frozen=True)
class Rule:
    """How a run makes its labels; defaults are training's."""

    pseudo_label: str = "ot-image"
    iterations: int = 10
    epsilon: float | None = None
    keyword_targets: str = "similarity"
    keyword_template: str = "{}"

    @classmethod
    def of(cls, args) -> "Rule":
        """The rule that training's flags say."""
        return cls(
            args.sclip_pseudo_label,
            args.sclip_sinkhorn_iterations,
            args.sclip_epsilon,
            args.sclip_keyword_targets,
            args.keyword_template,
        )


def label_images(
    encoder: Encoder,
    preprocess,
    pairs: list[Picture],
    unpaired: list[Picture],
    vocabulary=None,
    rule: Rule | None = None,
    shown: int = 6,
    batch_size: int = 64,
) -> tuple[list[LabelledImage], dict[str, float]]:
    """Cards of `shown` evenly spaced unpaired images, and the figures of `diagnostics.measures` over all of them.

    The plan is solved between all the pairs and all the unpaired images given; a pair's first caption stands for it.
    The model is in eval mode meanwhile.
    """
    rule = rule or Rule()
    captions = [pair.captions[0] for pair in pairs]
    with evaluating(encoder.model), torch.inference_mode():
        queries = encode_pictures(encoder, preprocess, unpaired, batch_size)
        if rule.pseudo_label.endswith("-text"):
            support = _texts(encoder, captions, batch_size)
        else:
            support = encode_pictures(encoder, preprocess, pairs, batch_size)
        scale = encoder.model.logit_scale.detach().float().exp()
        options = {"epsilon": rule.epsilon, "iterations": rule.iterations}
        plan = pseudo_labels.pseudo_labels(rule.pseudo_label, queries, support, scale, **options)
        figures = label_measures(plan)
        targets = None
        if vocabulary is not None:
            keywords = _texts(encoder, [rule.keyword_template.replace("{}", word) for word in vocabulary], batch_size)
            candidates = torch.stack([vocabulary.matches(text) for text in captions]).to(plan.device)
            sets = partial_labels.candidate_sets(plan, candidates)
            targets = partial_labels.keyword_targets(rule.keyword_targets, queries @ keywords.T, scale, sets)
            figures |= keyword_measures(plan, candidates, queries, keywords, scale)
    figures.pop("commonest_index", None)
    drawn = torch.special.entr(plan).sum(dim=1).exp()
    rows = torch.linspace(0, len(unpaired) - 1, min(shown, len(unpaired))).round().long().tolist()
    words = list(vocabulary or ())
    cards = [
        LabelledImage(
            unpaired[row],
            _heaviest(plan[row], captions),
            None if targets is None else _heaviest(targets[row], words),
            drawn[row].item(),
        )
        for row in rows
    ]
    return cards, {name: value.item() for name, value in figures.items()}


def encode_pictures(encoder: Encoder, preprocess, pictures: list[Picture], batch_size: int) -> Tensor:
    """(N, D): features of N pictures."""
    batches = [pictures[i : i + batch_size] for i in range(0, len(pictures), batch_size)]
    return torch.cat([encoder.images(torch.stack([preprocess(one.open()) for one in batch])) for batch in batches])


def _texts(encoder: Encoder, texts: list[str], batch_size: int) -> Tensor:
    return torch.cat([encoder.texts(texts[i : i + batch_size]) for i in range(0, len(texts), batch_size)])


def _heaviest(weights: Tensor, names: list[str]) -> list[tuple[str, float]]:
    found = weights.topk(min(SHOWN, len(names)))
    return [(names[j], w) for w, j in zip(found.values.tolist(), found.indices.tolist()) if w > 0]
