"""From captions to keywords: phrases are ranked and counted, the best are kept, and their coverage is measured.

Legend: K keywords.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sclip_plugin.errors import DataError
from sclip_plugin.keywords import Vocabulary, words
from sclip_plugin.shards.keywords.captions import Captions, progress
from sclip_plugin.shards.keywords.embedding import TextTower, embedding_phrases, load_encoder
from sclip_plugin.shards.keywords.phrases import METHODS, PhraseOptions
from sclip_plugin.shards.keywords.variants import merge_variants, without_variants_of

EMBEDDING = "embedding"
ALL_METHODS = (*METHODS, EMBEDDING)
SPARE = 3  # phrases ranked for each keyword wanted: some do not occur as whole words (ours)


@dataclass(frozen=True)
class ExtractionOptions:
    """How keywords are chosen.

    Attributes:
        method: one of `ALL_METHODS`; YAKE is the paper's.
        top: keywords wanted. The paper takes 50 to 300; the default is ours.
        min_count: captions that must hold a keyword (ours: one).
        keep_variants: whether near-duplicates ("tree", "trees") stay apart.
        phrases: which phrases may become keywords.
        text_tower: the model of the method "embedding", which needs one.

    Raises:
        ValueError: an unknown method, a number below 1, or "embedding" without a text tower.
    """

    method: str = "yake"
    top: int = 100
    min_count: int = 1
    keep_variants: bool = False
    phrases: PhraseOptions = field(default_factory=PhraseOptions)
    text_tower: TextTower | None = None

    def __post_init__(self) -> None:
        if self.method not in ALL_METHODS:
            raise ValueError(f"method must be one of {', '.join(ALL_METHODS)}, got {self.method!r}")
        for name in ("top", "min_count"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.method == EMBEDDING and self.text_tower is None:
            raise ValueError(f"method {EMBEDDING!r} needs a text_tower")


@dataclass(frozen=True)
class CountedKeywords:
    """Keywords, and how often captions hold them.

    Attributes:
        keywords: the K keywords, best first.
        frequency: {keyword: captions that hold it}.
        histogram: int64 (K+1,): how many captions hold 0, 1, … K of the keywords.
        left_out: near-duplicates that would have been among the keywords.
    """

    keywords: tuple[str, ...]
    frequency: dict[str, int]
    histogram: np.ndarray
    left_out: tuple[str, ...] = ()

    @property
    def captions(self) -> int:
        """How many captions were counted."""
        return int(self.histogram.sum())

    @property
    def coverage(self) -> float:
        """The share of the captions that hold at least one keyword, from 0 to 1."""
        return float(1 - self.histogram[0] / self.captions)

    @property
    def per_caption(self) -> float:
        """The mean number of keywords that a caption holds."""
        return float(self.histogram @ np.arange(len(self.histogram))) / self.captions

    def share(self, keyword: str) -> float:
        """The share of the captions that hold this keyword, from 0 to 1."""
        return self.frequency[keyword] / self.captions


def extract(
    captions: Captions, options: ExtractionOptions, source: str = "captions", names: Sequence[str] = ()
) -> CountedKeywords:
    """The keywords of some captions. They are read three or four times.

    Args:
        captions: at least one.
        options: how keywords are chosen.
        source: what error messages call the captions.
        names: keywords that are given, class names say. They come first, whatever the number of their captions, and
            phrases are added up to `options.top` in all. Near-duplicates of names are left out.

    Raises:
        DataError: no phrase is found, or none of those found occurs in `min_count` captions.
        UsageError: the method "nouns" lacks its extra, or knows no such language.
    """
    ranked = rank(captions, options)
    if not ranked and not names:
        raise DataError(f"{source}: --method {options.method} finds no keyword in {len(captions)} captions")
    phrases = without_variants_of(names, ranked, None if options.keep_variants else options.phrases.language)
    frequency = frequencies(Vocabulary([*names, *phrases]), progress(captions, "counting"))
    frequent = [phrase for phrase in phrases if frequency[phrase] >= options.min_count]
    if not frequent and not names:
        raise DataError(f"{source}: none of the phrases found occurs in {options.min_count} captions as whole words")
    kept = frequent if options.keep_variants else merge_variants(frequent, frequency, options.phrases.language)
    room = max(0, options.top - len(names))
    left_out = _near_duplicates(names, ranked, phrases, frequent, kept, room)
    return _measured([*names, *kept[:room]], frequency, captions, left_out)


def _near_duplicates(
    names: Sequence[str], ranked: list[str], phrases: list[str], frequent: list[str], kept: list[str], room: int
) -> list[str]:
    """The phrases that would be among the first `room`, but are near-duplicates of a name or of each other."""
    given, apart, counted = {words(name) for name in names}, set(phrases), set(frequent)
    counted |= {phrase for phrase in ranked if phrase not in apart and words(phrase) not in given}
    first = [phrase for phrase in ranked if phrase in counted][:room]
    return [phrase for phrase in first if phrase not in kept]


def count(keywords: Sequence[str], captions: Captions) -> CountedKeywords:
    """Keywords that are given, class names say, counted in captions.

    Raises:
        DataError: no keyword, one without a letter or digit, or two that are equal without case and punctuation.
    """
    frequency = frequencies(Vocabulary(keywords), progress(captions, "counting"))
    return _measured(keywords, frequency, captions)


def rank(captions: Captions, options: ExtractionOptions) -> list[str]:
    """Phrases, best first: `SPARE` times as many as keywords are wanted, or fewer where there are fewer."""
    wanted = SPARE * options.top
    if options.text_tower is not None and options.method == EMBEDDING:
        return embedding_phrases(captions, wanted, options.phrases, load_encoder(options.text_tower))
    return METHODS[options.method](progress(captions, "ranking"), wanted, options.phrases)


def frequencies(vocabulary: Vocabulary, captions: Iterable[str]) -> dict[str, int]:
    """{keyword: how many captions hold it as whole words}."""
    counts = np.zeros(len(vocabulary), dtype=np.int64)
    for caption in captions:
        counts[vocabulary.indices(caption)] += 1
    return dict(zip(vocabulary, counts.tolist()))


def _measured(
    keywords: Sequence[str], frequency: dict[str, int], captions: Captions, left_out: Sequence[str] = ()
) -> CountedKeywords:
    vocabulary = Vocabulary(keywords)
    histogram = np.zeros(len(vocabulary) + 1, dtype=np.int64)
    for caption in progress(captions, "coverage"):
        histogram[len(vocabulary.indices(caption))] += 1
    table = {keyword: frequency[keyword] for keyword in keywords}
    return CountedKeywords(tuple(keywords), table, histogram, tuple(left_out))
