"""What pairs, unpaired images and the start model tell beforehand: how often captions of near pairs will fit.

Legend: N pairs, U unpaired images, K keywords, D width of the features, B pairs in a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

import numpy as np
import torch
from torch import Tensor

from sclip_plugin.commands.checkup.estimates import Gap, Level, Similarities, gap_between, level, nearest_pairs
from sclip_plugin.commands.checkup.samples import Part
from sclip_plugin.commands.checkup.vocabulary import Words, judge
from sclip_plugin.diagnostics.calibration import Calibration, calibrate
from sclip_plugin.keywords import Vocabulary
from sclip_plugin.teacher.agreement import Bag, Neighbours, content_words, leave_one_out

FEWEST: Final = 10  # pairs; a share of fewer says nothing (ours)
REFERENCE: Final = 32  # pairs in the batches that the limits of the advice were measured in (ours)


@dataclass(frozen=True)
class Nearness:
    """What the picture shows of single images.

    Attributes:
        pairs: float32 (N,), the cosine of each pair with the nearest other.
        right: float64 (N,), 1 where that one agrees with it.
        unpaired: float32 (U,), the cosine of each unpaired image with its nearest pair.
        nearest: int64 (U,), the number of that pair.
        trust: from such a cosine to the probability that the pair's caption fits.
    """

    pairs: np.ndarray
    right: np.ndarray
    unpaired: np.ndarray
    nearest: np.ndarray
    trust: Calibration


@dataclass(frozen=True)
class Levels:
    """Both levels of the loss.

    Attributes:
        captions: agreement by content words.
        keywords: agreement by keywords that are not generic; None without a vocabulary, or where all are generic.
    """

    captions: Level
    keywords: Level | None


@dataclass(frozen=True)
class Evidence:
    """All that a checkup finds.

    Attributes:
        batch: B.
        asked: what is right and within reach in batches of B.
        reference: the same in batches of `REFERENCE` pairs, which the advice goes by.
        gap: how far the unpaired images are from the pairs.
        common: (word, share of the pairs) of the words that are too common to count.
        grouped: the number of groups whose pairs are not compared; None where there are none.
        words: the vocabulary's words judged; None without a vocabulary.
        nearness: single images.
    """

    batch: int
    asked: Levels
    reference: Levels
    gap: Gap
    common: list[tuple[str, float]]
    grouped: int | None
    words: Words | None
    nearness: Nearness


@dataclass(frozen=True)
class Question:
    """What a checkup is asked.

    Attributes:
        batch: B.
        stop: the stop-words.
        common: the largest share of the pairs that may have a content word.
        keywords: the vocabulary with float32 (K, D), its keywords' features in the start model; None without one.
    """

    batch: int
    stop: frozenset[str]
    common: float
    keywords: tuple[Vocabulary, Tensor] | None


def gather(pairs: Part, unpaired: Part, question: Question) -> Evidence:
    """The evidence. Both parts are encoded by the start model.

    Raises:
        ValueError: there are fewer than `FEWEST` pairs.
    """
    if len(pairs) < FEWEST:
        raise ValueError(f"pairs must be at least {FEWEST}, got {len(pairs)}")
    groups, grouped = group_numbers(pairs.groups, unpaired.groups)
    captions = [picture.captions for picture in pairs.pictures]
    content = content_words(captions, question.stop, question.common)
    words = None
    if question.keywords is not None:
        vocabulary, texts = question.keywords
        words = judge(vocabulary, captions, torch.from_numpy(pairs.features), texts)
    neighbours = Neighbours(pairs.features, groups)
    near, other = neighbours.nearest()
    far, nearest = nearest_pairs(unpaired.features, pairs.features)
    right = np.array([float(bool(bag & content.bags[number])) for bag, number in zip(content.bags, other)])
    bags = words.bags if words is not None and any(words.bags) else None
    comparison = _Comparison(neighbours, Similarities(near, groups, far), content.bags, bags)
    asked = comparison.levels(question.batch)
    return Evidence(
        batch=min(question.batch, len(pairs) - 1),
        asked=asked,
        reference=asked if question.batch == REFERENCE else comparison.levels(REFERENCE),
        gap=gap_between(near, far),
        common=content.common,
        grouped=grouped,
        words=words,
        nearness=Nearness(near, right, far, nearest, calibrate(near, right)),
    )


@dataclass(frozen=True)
class _Comparison:
    """Pairs that are compared with each other, by their content words and by their keywords, if there are any."""

    neighbours: Neighbours
    similarities: Similarities
    captions: list[Bag]
    keywords: list[Bag] | None

    def levels(self, batch: int) -> Levels:
        """What is right and within reach in batches of B."""

        def one(bags: list[Bag]) -> Level:
            return level(leave_one_out(self.neighbours, bags, batch), self.similarities)

        return Levels(one(self.captions), None if self.keywords is None else one(self.keywords))


def group_numbers(pairs: Sequence[str | None], unpaired: Sequence[str | None]) -> tuple[np.ndarray, int | None]:
    """A number for each pair, equal within a group, and how many groups there are (None: groups do not count).

    `sclip convert --group-column` keeps a group in one part. A pair's own group is then nothing that an unpaired image
    could find, and is left out with it. Where pairs and unpaired images share groups, or all pairs are of one group,
    every pair is a group of its own.
    """
    named = {group for group in pairs if group is not None}
    lone = pairs.count(None)
    if not named or len(named) + lone < 2 or len(named) + lone == len(pairs) or named & set(unpaired):
        return np.arange(len(pairs)), None
    numbers = {group: number for number, group in enumerate(sorted(named))}
    own = count(len(numbers))
    found = [next(own) if group is None else numbers[group] for group in pairs]
    return np.array(found), len(named) + lone
