"""How much of a vocabulary can teach: keywords of style, keywords in most captions, and keywords that the start model
does not see.

The figures and the rule for style are those of `sclip keywords --prune`. Legend: N pairs, K keywords, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch

from sclip_plugin.keywords import Vocabulary
from sclip_plugin.shards.keywords.evidence import evidence, frequency
from sclip_plugin.shards.keywords.pruning import HOLDS_STYLE, STYLE, prune

GENERIC: Final = 0.5  # share of the pairs; a keyword that more of them hold tells few apart (ours, as `sclip keywords`)
FEWEST: Final = 5  # pairs that must hold a keyword before it is called unseen (ours)
# How well nearness tells a keyword's images from the others, as an area under a curve: 0.5 is chance. Of the emoji
# bench's class names none but the vaguest lie below, and a few more where the start model knows icons only (ours).
UNSEEN: Final = 0.55


@dataclass(frozen=True)
class Words:
    """A vocabulary, judged by the pairs.

    Attributes:
        total: K.
        generic: (keyword, share of the pairs), commonest first, of those that more than `GENERIC` hold.
        style: keywords that come and go among pairs that are otherwise alike, and those that hold such a word.
        unseen: keywords whose images lie no closer together in the start model than chance.
        judged: how many keywords are in `FEWEST` pairs or more, so that they can be unseen.
        absent: keywords that no pair holds.
        pruned: how many keywords `sclip keywords --prune` would drop, for these and other reasons.
        without: the share of the pairs that hold no keyword.
        bags: for each of the N pairs, the numbers of the keywords in its captions but for the generic ones.
    """

    total: int
    generic: list[tuple[str, float]]
    style: list[str]
    unseen: list[str]
    judged: int
    absent: list[str]
    pruned: int
    without: float
    bags: list[frozenset[int]]


def judge(
    vocabulary: Vocabulary, captions: Sequence[Sequence[str]], images: torch.Tensor, texts: torch.Tensor
) -> Words:
    """Look at every keyword of a vocabulary.

    Args:
        vocabulary: the K keywords.
        captions: the captions of each of the N pairs.
        images: float32 (N, D), L2-normalised, features of their images.
        texts: float32 (K, D), L2-normalised, features of the keywords.
    """
    names = vocabulary.keywords
    figures = evidence(vocabulary, captions, images, texts)
    holders: list[int] = figures.pairs.tolist()
    pruned = prune(names, frequency(vocabulary, captions), figures)
    share = {name: number / len(captions) for name, number in zip(names, holders)}
    generic = sorted(((name, share[name]) for name in names if share[name] > GENERIC), key=lambda one: -one[1])
    judged = [number for number, count in enumerate(holders) if count >= FEWEST]
    counted = figures.held & torch.tensor([share[name] <= GENERIC for name in names])
    return Words(
        total=len(vocabulary),
        generic=generic,
        style=[one.keyword for one in pruned.dropped if one.reason in (STYLE, HOLDS_STYLE)],
        unseen=[names[number] for number in judged if figures.coherence[number] < UNSEEN],
        judged=len(judged),
        absent=[name for name in names if not share[name]],
        pruned=len(pruned.dropped),
        without=1 - figures.held.any(dim=1).float().mean().item(),
        bags=[frozenset(row.nonzero().flatten().tolist()) for row in counted],
    )
