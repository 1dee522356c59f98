"""Which proposals become keywords: those that may help stay, and each of the others is dropped for a reason.

`evidence` has the figures that the rules ask for. The rules run in the order of `prune`; a rule sees only what the
earlier ones have left.

Legend: N pairs, K proposals.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from sclip_plugin.keywords import words
from sclip_plugin.shards.keywords.evidence import Evidence

NO_CAPTION: Final = "no caption holds it"
ONE_PAIR: Final = "only one pair holds it"
NEARLY_ALL: Final = "nearly all pairs hold it"
LIST: Final = "its words follow each other in lists, with commas between them"
STYLE: Final = "style: pairs that are alike otherwise do not share it"
HOLDS_STYLE: Final = "holds a word of style"
PART: Final = "never stands without a longer keyword"
SAME: Final = "stands for the same pairs as another keyword"
SURPLUS: Final = "beyond --top"

MOST_PAIRS_SHARE: Final = 0.9  # a keyword in a larger share of the pairs tells them apart hardly ever (ours)
# What is believed of a word before any pair is asked: an agreement of one half, as if this many pairs had said so. The
# more pairs hold the word, the less that counts; three pairs alone decide nothing (ours, as are the numbers below).
TRUST, TRUST_IN_NAMES = 10, 30
PRIOR: Final = 0.5
LEAST_AGREEMENT: Final = 0.38  # below it a word is one of style, unless the model sees it
SEEN: Final = 0.9  # an area under both curves from which on it does
SAME_SHARE: Final = 0.9  # of the pairs that hold either of two keywords, those that hold both
# The share of a vocabulary's keywords that is dropped, from which on a training with it is warned of (ours). On the
# benches S-CLIP lost where it was 45%, and gained where it was 3 to 34%.
IDLE: Final = 1 / 3
ABOUT: Final = 0.1  # a difference between areas under curves that does not count


@dataclass(frozen=True)
class Dropped:
    """A proposal that is no keyword.

    Attributes:
        keyword: its words.
        reason: one of the sentences above.
        detail: the figures or the other keyword behind it; may be empty.
    """

    keyword: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Pruned:
    """What became of the proposals: each is in one of the two lists, in the order in which they came.

    Attributes:
        kept: the keywords.
        dropped: the others.
    """

    kept: tuple[str, ...]
    dropped: tuple[Dropped, ...]

    def by_reason(self) -> Iterator[tuple[str, list[Dropped]]]:
        """(reason, the proposals that it dropped), in the order of the rules; reasons without any are passed over."""
        for reason in (NO_CAPTION, ONE_PAIR, NEARLY_ALL, LIST, STYLE, HOLDS_STYLE, PART, SAME, SURPLUS):
            found = [one for one in self.dropped if one.reason == reason]
            if found:
                yield reason, found


def prune(
    proposals: Sequence[str], frequency: Mapping[str, int], evidence: Evidence, names: int = 0, top: int | None = None
) -> Pruned:
    """Keep the proposals that may help, in their order.

    The first proposals may be names that the user has given, of classes say. They are trusted: only what no caption
    holds, nearly all pairs hold or is most clearly of style is dropped.

    Args:
        proposals: K phrases, best first.
        frequency: {proposal: captions that hold it}, over all captions.
        evidence: their figures.
        names: how many of the proposals are names.
        top: the most that are kept; names are never beyond it. None: all that pass.
    """
    case = _Case(proposals, names, evidence)
    _unused(case, frequency)
    _lists(case)
    _of_style(case)
    _with_style(case)
    _parts(case, frequency)
    _same_pairs(case)
    _surplus(case, top)
    return case.result()


def adjusted_agreement(evidence: Evidence, names: int = 0) -> Tensor:
    """(K,): the agreement of each proposal, drawn towards `PRIOR` by as many pairs as are trusted beforehand; what is
    below 0 counts as 0.

    Args:
        evidence: the figures.
        names: how many of the proposals, the first ones, are names.
    """
    support = evidence.support.float()
    trust = torch.full_like(support, TRUST)
    trust[:names] = TRUST_IN_NAMES
    return (support * evidence.agreement.clamp(min=0) + trust * PRIOR) / (support + trust)


def seen(evidence: Evidence) -> Tensor:
    """(K,): the lesser of the areas under both curves, each as if one more pair were at chance; 0.5 without any."""
    areas = (evidence.coherence, evidence.zero_shot)
    return torch.stack([_smoothed(area, evidence.pairs) for area in areas]).min(dim=0).values


def _smoothed(areas: Tensor, pairs: Tensor) -> Tensor:
    """(K,): areas under curves as if one more pair were at chance; 0.5 where there is none."""
    return ((areas * pairs + PRIOR) / (pairs + 1)).nan_to_num(PRIOR)


class _Case:
    """The proposals while the rules are at work."""

    def __init__(self, proposals: Sequence[str], names: int, evidence: Evidence) -> None:
        self.proposals, self.names, self.evidence = list(proposals), names, evidence
        self.words = [words(proposal) for proposal in proposals]
        self.pairs: list[int] = evidence.pairs.tolist()
        self.rank = list(range(len(proposals)))
        self._dropped: dict[int, Dropped] = {}

    def drop(self, index: int, reason: str, detail: str = "") -> None:
        self._dropped[index] = Dropped(self.proposals[index], reason, detail)

    def replace(self, index: int, by: int, reason: str) -> None:
        """Drop a proposal for another one, which takes its place in the ranking if that is better than its own."""
        self.drop(index, reason, self.proposals[by])
        self.rank[by] = min(self.rank[by], self.rank[index])

    def left(self) -> list[int]:
        """The indices of the proposals that are still there."""
        return [index for index in range(len(self.proposals)) if index not in self._dropped]

    def phrases_left(self) -> list[int]:
        """The same without names."""
        return [index for index in self.left() if index >= self.names]

    def result(self) -> Pruned:
        kept = tuple(self.proposals[index] for index in self.left())
        return Pruned(kept, tuple(self._dropped[index] for index in sorted(self._dropped)))


def _unused(case: _Case, frequency: Mapping[str, int]) -> None:
    """What no caption, one pair or nearly every pair holds teaches nothing."""
    total = len(case.evidence.held)
    for index in case.left():
        pairs = case.pairs[index]
        if not frequency[case.proposals[index]]:
            case.drop(index, NO_CAPTION)
        elif pairs < 2 and index >= case.names:
            case.drop(index, ONE_PAIR)
        elif pairs > MOST_PAIRS_SHARE * total:
            case.drop(index, NEARLY_ALL, f"{pairs / total:.0%}")


def _lists(case: _Case) -> None:
    """Of "boot: clothes, clothing, shoe" no phrase is made, although training would find "clothes clothing" there."""
    together: list[int] = case.evidence.together.sum(dim=0).tolist()
    for index in case.phrases_left():
        if 2 * together[index] < case.pairs[index]:
            case.drop(index, LIST)


def _of_style(case: _Case) -> None:
    """A word that comes and goes among pairs that are otherwise alike names no thing, unless the model sees one."""
    agreement, visible = adjusted_agreement(case.evidence, case.names).tolist(), seen(case.evidence).tolist()
    for index in case.left():
        if agreement[index] < LEAST_AGREEMENT and visible[index] < SEEN:
            case.drop(index, STYLE, f"agreement {agreement[index]:.2f}, seen {visible[index]:.2f}")


def _with_style(case: _Case) -> None:
    """A phrase with a word of style says no more than the phrase without it."""
    styles = {case.words[index]: one.keyword for index, one in case._dropped.items() if one.reason == STYLE}
    for index in case.phrases_left():
        inside = next((styles[part] for part in _parts_of(case.words[index]) if part in styles), None)
        if inside is not None:
            case.drop(index, HOLDS_STYLE, inside)


def _parts(case: _Case, frequency: Mapping[str, int]) -> None:
    """A word that only ever stands in a longer keyword ("parking" in "parking lot") is a proposal whenever it is."""
    longer = {
        (part, frequency[case.proposals[index]]): index
        for index in case.left()
        for part in _parts_of(case.words[index])
    }
    for index in case.phrases_left():
        whole = longer.get((case.words[index], frequency[case.proposals[index]]))
        if whole is not None:
            case.replace(index, whole, PART)


def _parts_of(phrase: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The runs of words in a phrase that are shorter than itself."""
    for length in range(1, len(phrase)):
        for first in range(len(phrase) - length + 1):
            yield phrase[first : first + length]


def _same_pairs(case: _Case) -> None:
    """Of keywords on the same pairs names stay, else the first that the model sees about as well as any of them."""
    same = _on_same_pairs(case.evidence.held)
    sees = _smoothed(case.evidence.zero_shot, case.evidence.pairs).tolist()
    for first in range(len(case.proposals)):
        group = [index for index in case.left() if index >= first and same[first, index]]
        if first not in group:  # it has been dropped
            continue
        best = max(sees[index] for index in group)
        chosen = first if first < case.names else next(one for one in group if sees[one] >= best - ABOUT)
        for index in group:
            if index >= case.names and index != chosen:
                case.replace(index, chosen, SAME)


def _on_same_pairs(held: Tensor) -> Tensor:
    """bool (K, K): whether `SAME_SHARE` of the pairs that hold either proposal hold both."""
    both = held.T.float() @ held.float()
    return both >= SAME_SHARE * (both.diagonal()[:, None] + both.diagonal() - both)


def _surplus(case: _Case, top: int | None) -> None:
    if top is None:
        return
    phrases = case.phrases_left()
    room = max(0, top - (len(case.left()) - len(phrases)))
    for index in sorted(phrases, key=lambda index: case.rank[index])[room:]:
        case.drop(index, SURPLUS)
