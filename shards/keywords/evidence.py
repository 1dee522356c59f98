"""What the pairs and the start model say of keywords, before any training: the figures behind `pruning`.

Three figures are computed of each keyword, over the pairs that hold it in a caption and those that do not:

- Agreement asks the captions. A word that names a thing is shared by pairs that are alike in all else that their
  captions say; a word of style ("outline", "large") is as likely to be missing there.
- Coherence asks the images: how much nearer to each other are those of the keyword's pairs than other images are?
- Zero-shot asks both towers: how much nearer to the keyword's text are the images of its pairs?

Legend: N pairs, K keywords, V words of the captions, D embedding width, M pairs that hold a keyword.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from sclip_plugin.keywords import Vocabulary, words

NEIGHBOURS = 5  # pairs with the most similar captions that are asked for a word (ours)
MOST_WORDS = 20_000  # of the captions, the commonest ones: bounds memory (ours)
# What stands between the items of a list, and between sentences; "parking-lot" and "3.5" are not parted.
_BETWEEN = re.compile(r"[,;:!?()|\"\n]|\.(?=\s|$)|\s[-–—/]\s")
ROUNDING = 1e-4  # similarities and products of words that differ by less are equal
COLUMNS = 1024  # words whose products are added up at a time
ROWS = 512  # pairs whose neighbours are looked for at a time


@dataclass(frozen=True)
class Evidence:
    """The figures of K keywords over N pairs.

    Attributes:
        held: bool (N, K): which pairs hold which keyword in one of their captions, as training finds it.
        together: bool (N, K): those of them where no comma, colon or the like stands between its words.
        agreement: (K,): 1 where pairs that are alike otherwise all hold the keyword too, 0 where they hold it as often
            as any pair, below 0 where less often; 0 without support.
        support: int (K,): how many pairs the agreement is a mean over, at most those that hold the keyword.
        coherence: (K,) areas under curves from 0 to 1, 0.5 at chance: how well the mean cosine with the images of the
            keyword's other pairs tells its pairs from the rest. NaN where fewer than two pairs hold it, or all.
        zero_shot: (K,) the same for the cosine with the keyword's text. NaN where no pair holds it, or all.
    """

    held: Tensor
    together: Tensor
    agreement: Tensor
    support: Tensor
    coherence: Tensor
    zero_shot: Tensor

    @property
    def pairs(self) -> Tensor:
        """int64 (K,): how many pairs hold each keyword."""
        return self.held.sum(dim=0)


class CaptionWords:
    """The words that the captions of N pairs hold, and how similar these captions are.

    Words in one pair alone are left out, because they say nothing of other pairs; of more than `MOST_WORDS` words the
    commonest count.

    Args:
        captions: of each pair, all its captions.

    Attributes:
        held: bool (N, V).
        pairs: float (V,): how many pairs hold each word, at least 2.
    """

    def __init__(self, captions: Sequence[Sequence[str]]) -> None:
        bags = [{word for caption in one for word in words(caption)} for one in captions]
        counts = Counter(word for bag in bags for word in sorted(bag))
        common = [word for word, count in counts.most_common(MOST_WORDS) if count > 1]
        self._column = {word: column for column, word in enumerate(common)}
        self.held = torch.zeros(len(bags), len(common), dtype=torch.bool)
        for row, bag in enumerate(bags):
            self.held[row, [self._column[word] for word in bag if word in self._column]] = True
        self.pairs = self.held.sum(dim=0).float()
        self._weight = (len(bags) / self.pairs).log()  # idf: what all pairs hold weighs nothing
        self._products = self._all_products()

    def _all_products(self) -> Tensor:
        """(N, N) inner products of the pairs' weighted words."""
        products = torch.zeros(len(self.held), len(self.held))
        for first in range(0, self.held.shape[1], COLUMNS):
            part = self.held[:, first : first + COLUMNS] * self._weight[first : first + COLUMNS]
            products.addmm_(part, part.T)
        return products

    def columns(self, keyword: str) -> list[int]:
        """The columns of a keyword's own words."""
        return [self._column[word] for word in dict.fromkeys(words(keyword)) if word in self._column]

    def similarity(self, rows: Tensor, without: list[int]) -> Tensor:
        """(M, N) cosines from 0 to 1 between weighted words, -1 between a pair and itself.

        Args:
            rows: int (M,), the pairs that are compared with all.
            without: columns of words that do not count.
        """
        left_out = self.held[:, without] * self._weight[without]
        lengths = (self._products.diagonal() - left_out.square().sum(dim=1)).clamp(min=0).sqrt()
        products = self._products[rows] - left_out[rows] @ left_out.T
        scale = (lengths[rows, None] * lengths).clamp(min=1e-6)
        similarity = torch.where(products > ROUNDING, products / scale, 0.0)
        similarity[torch.arange(len(rows)), rows] = -1.0
        return similarity


def evidence(vocabulary: Vocabulary, captions: Sequence[Sequence[str]], images: Tensor, texts: Tensor) -> Evidence:
    """The figures of a vocabulary's keywords.

    Args:
        vocabulary: the K keywords.
        captions: of each of the N pairs, all its captions.
        images: (N, D) L2-normalised features of the pairs' images.
        texts: (K, D) L2-normalised features of the keywords.
    """
    held = vocabulary.held_by(captions)
    clauses = [[clause for caption in one for clause in _BETWEEN.split(caption)] for one in captions]
    caption_words = CaptionWords(captions)
    columns = [caption_words.columns(keyword) for keyword in vocabulary]
    bar = tqdm(list(zip(columns, held.T)), desc="weighing", unit="keyword", disable=None)
    agreements = [agreement(caption_words, who, own) for own, who in bar]
    nearness = images @ texts.T
    return Evidence(
        held=held,
        together=vocabulary.held_by(clauses),
        agreement=torch.tensor([value for value, _ in agreements]),
        support=torch.tensor([support for _, support in agreements]),
        coherence=torch.tensor([coherence(images, who) for who in held.T]),
        zero_shot=torch.tensor([area_under_curve(nearness[:, one], who) for one, who in enumerate(held.T)]),
    )


def frequency(vocabulary: Vocabulary, captions: Sequence[Sequence[str]]) -> dict[str, int]:
    """{keyword: captions that hold it}, over all captions of the pairs."""
    found = dict.fromkeys(vocabulary.keywords, 0)
    for caption in (one for texts in captions for one in texts):
        for number in vocabulary.indices(caption):
            found[vocabulary.keywords[number]] += 1
    return found


def agreement(captions: CaptionWords, who: Tensor, own: list[int]) -> tuple[float, int]:
    """How much more often than chance pairs hold a keyword that are alike otherwise, and the support of this figure.

    Each pair that holds the keyword asks two groups of other pairs: the `NEIGHBOURS` with the most similar captions,
    and those with which it shares a word that is no commoner than the keyword. The share of them that hold the keyword
    too is averaged over groups and pairs, and corrected for chance as Cohen's kappa is. The keyword's own words count
    for neither group.

    Args:
        captions: the words of the N pairs.
        who: bool (N,), the pairs that hold the keyword.
        own: the columns of its own words.

    Returns:
        (agreement, at most 1; pairs that found others to ask). (0, 0) where fewer than two pairs hold the keyword, all
        do, or nothing is shared.
    """
    rows, total = who.nonzero().squeeze(1), len(who)
    chance = (len(rows) - 1) / max(1, total - 1)
    if not 2 <= len(rows) < total:
        return 0.0, 0
    shares = torch.stack([_share_of_neighbours(captions, who, rows, own), _share_by_words(captions, rows, own)])
    asked = ~shares.isnan().all(dim=0)
    if not asked.any():
        return 0.0, 0
    share = shares[:, asked].nanmean(dim=0).mean().item()
    return (share - chance) / (1 - chance), int(asked.sum())


def _share_of_neighbours(captions: CaptionWords, who: Tensor, rows: Tensor, own: list[int]) -> Tensor:
    """(M,): the share of each pair's neighbours that hold the keyword, weighted by similarity; NaN without any."""
    wanted = min(NEIGHBOURS, len(rows) - 1)
    shares = []
    for part in rows.split(ROWS):
        weights = _weights_of_nearest(captions.similarity(part, own), wanted)
        shares.append(weights[:, who].sum(dim=1) / weights.sum(dim=1))
    return torch.cat(shares)


def _weights_of_nearest(similarity: Tensor, wanted: int) -> Tensor:
    """(M, N): the similarities of the nearest `wanted` in each row, the others zero. Those that are equally near, where
    there is no room for all of them, share what room there is, so that the order of the pairs does not matter."""
    last = similarity.topk(wanted, dim=1).values[:, -1:]
    nearer, tied = similarity > last + ROUNDING, (similarity - last).abs() <= ROUNDING
    room = (wanted - nearer.sum(dim=1, keepdim=True)) / tied.sum(dim=1, keepdim=True)
    return similarity.clamp(min=0) * (nearer + tied * room)


def _share_by_words(captions: CaptionWords, rows: Tensor, own: list[int]) -> Tensor:
    """(M,): the share of other pairs with a word that hold the keyword, averaged over each pair's words that are no
    commoner than the keyword; NaN without any."""
    parts = rows.split(ROWS)
    counted = (captions.pairs <= len(rows)).float()
    counted[own] = 0.0
    holders = torch.stack([captions.held[part].sum(dim=0) for part in parts]).sum(dim=0)
    share = counted * (holders - 1) / (captions.pairs - 1)
    held = (captions.held[part].float() for part in parts)
    return torch.cat([(part @ share) / (part @ counted) for part in held])


def coherence(images: Tensor, who: Tensor) -> float:
    """How well the mean cosine with the keyword's other images tells its images from the rest, as an area under a
    curve.

    Args:
        images: (N, D), L2-normalised.
        who: bool (N,), the images whose captions hold the keyword.

    Returns:
        From 0 to 1, 0.5 at chance; NaN where fewer than two images hold it, or all.
    """
    count = int(who.sum())
    if count < 2:
        return float("nan")
    centred = torch.nn.functional.normalize(images - images.mean(dim=0), dim=1)
    mine = who.float()
    sums = centred @ centred[who].sum(dim=0) - mine * centred.square().sum(dim=1)
    return area_under_curve(sums / (count - mine), who)


def area_under_curve(scores: Tensor, who: Tensor) -> float:
    """The probability that one of `who` has a higher score than one of the others; ties count half.

    Args:
        scores: (N,).
        who: bool (N,).

    Returns:
        From 0 to 1; NaN where one of the sides is empty.
    """
    ours, others = scores[who], scores[~who].sort().values
    if not len(ours) or not len(others):
        return float("nan")
    below = torch.searchsorted(others, ours) + torch.searchsorted(others, ours, right=True)
    return (below.double().mean() / (2 * len(others))).item()
