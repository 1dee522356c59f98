"""Ways to rank phrases: each function takes a stream of captions and gives the best phrases, best first.

A phrase is a run of words in a caption. `words()` decides what is one and the same phrase: equal without case and
punctuation. Legend: C captions.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import TypeAlias

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.keywords import words
from sclip_plugin.shards.engines.engine import Engine
from sclip_plugin.shards.engines.local import HERE_IN_PYTHON
from sclip_plugin.shards.keywords.stop_words import stop_words

Phrase: TypeAlias = tuple[str, ...]  # the words of a phrase, as `words()` gives them

CHUNK = 5000  # captions that YAKE sees as one document: about 2 s and little memory
DEPTH = 10  # phrases taken from a chunk, as a multiple of those wanted
MOST_COUNTED = 1_000_000  # phrases counted at a time; when there are more, those seen once are dropped


@dataclass(frozen=True)
class PhraseOptions:
    """Which phrases may become keywords. The defaults are ours; the paper names only YAKE.

    Attributes:
        max_words: words of the longest phrase.
        language: two-letter code of the stop-word list.
        more_stop_words: further words with which no phrase begins or ends, split as captions are.
        engine: runs YAKE; the result is the same for any.

    Raises:
        ValueError: a number below 1, or a language without a stop-word list.
    """

    max_words: int = 2
    language: str = "en"
    more_stop_words: frozenset[str] = frozenset()
    engine: Engine = HERE_IN_PYTHON

    def __post_init__(self) -> None:
        if self.max_words < 1:
            raise ValueError(f"max_words must be at least 1, got {self.max_words}")
        stop_words(self.language)

    @cached_property
    def stop(self) -> frozenset[str]:
        """All words with which no phrase begins or ends."""
        return stop_words(self.language) | self.more_stop_words


def yake_phrases(captions: Iterable[str], wanted: int, options: PhraseOptions) -> list[str]:
    """The phrases that YAKE (the paper's method) ranks best over chunks of captions.

    YAKE's score is lower for better. A phrase's score is its mean over the chunks; a chunk that lacks it gives its
    worst score. With one chunk this is YAKE's own order. Its de-duplication by edit distance is off (it merges "park"
    with "parks", which are different whole words); spellings equal in `words()` are merged.

    Raises:
        DataError: YAKE returns nothing for a chunk that has words, which is how it hides its own errors.
    """
    gain: dict[Phrase, float] = defaultdict(float)
    spelling: dict[Phrase, str] = {}
    rank_chunk = partial(_yake_chunk, DEPTH * wanted, options)
    for ranked in options.engine.map(rank_chunk, _chunks(captions)):
        _add_chunk(ranked, gain, spelling)
    order = sorted(gain, key=lambda phrase: (-gain[phrase], phrase))
    return [spelling[phrase] for phrase in order[:wanted]]


def _yake_chunk(depth: int, options: PhraseOptions, chunk: list[str]) -> list[tuple[str, float]]:
    """(text, score) of the `depth` best phrases of one chunk."""
    import yake

    extractor = yake.KeywordExtractor(
        lan=options.language, n=options.max_words, dedup_lim=1.0, top=depth, stopwords=set(options.stop)
    )
    ranked = extractor.extract_keywords("\n".join(_sentence(caption) for caption in chunk))
    if not ranked and frequent_phrases(chunk, 1, options):
        raise DataError(f"YAKE finds nothing in {len(chunk)} captions; try --method frequency")
    return ranked


def _add_chunk(ranked: list[tuple[str, float]], gain: dict[Phrase, float], spelling: dict[Phrase, str]) -> None:
    """Add to `gain` by how much each phrase is better than the chunk's worst."""
    worst = max((score for _, score in ranked), default=0.0)
    best: dict[Phrase, float] = {}
    for text, score in ranked:
        phrase = words(text)
        if phrase and not all(word.isdigit() for word in phrase):
            spelling.setdefault(phrase, _spelling(text, phrase))
            best[phrase] = min(score, best.get(phrase, score))
    for phrase, score in best.items():
        gain[phrase] += worst - score


def _spelling(text: str, phrase: Phrase) -> str:
    """How a phrase is written in the keyword file: as found, unless the file format would misread it."""
    text = " ".join(text.lower().split())
    return text if not text.startswith("#") and words(text) == phrase else " ".join(phrase)


def _chunks(captions: Iterable[str]) -> Iterator[list[str]]:
    captions = iter(captions)
    while chunk := list(islice(captions, CHUNK)):
        yield chunk


def _sentence(caption: str) -> str:
    """The caption with a full stop, so that no phrase runs from it into the next one."""
    return caption if caption.endswith((".", "!", "?")) else caption + "."


def frequent_phrases(captions: Iterable[str], wanted: int, options: PhraseOptions) -> list[str]:
    """The phrases in most captions; none begins or ends with a stop-word, a number or a single letter."""
    return _best(_count(set(_phrases_of(words(caption), options)) for caption in captions), wanted)


def tfidf_phrases(captions: Iterable[str], wanted: int, options: PhraseOptions) -> list[str]:
    """Phrases by the sum over captions of tf·idf, with idf = ln((1 + C) / (1 + captions with it)) + 1 (as scikit-learn
    smooths it): phrases that nearly every caption holds fall behind those that tell captions apart."""
    total = 0
    occurrences: Counter[Phrase] = Counter()

    def counted() -> Iterator[set[Phrase]]:
        nonlocal total
        for caption in captions:
            total += 1
            found = _phrases_of(words(caption), options)
            occurrences.update(found)
            if len(occurrences) > 2 * MOST_COUNTED:
                _drop_rare(occurrences)
            yield set(found)

    held = _count(counted())
    score = {one: occurrences[one] * (math.log((1 + total) / (1 + number)) + 1) for one, number in held.items()}
    return _best(score, wanted)


def noun_phrases(captions: Iterable[str], wanted: int, options: PhraseOptions) -> list[str]:
    """The noun phrases (adjectives and nouns that end in a noun) in most captions, tagged by HanTa.

    Raises:
        UsageError: HanTa is not installed, or knows no such language.
    """
    tag = _tagger(options.language)

    def found(caption: str) -> set[Phrase]:
        tokens = words(caption)
        kinds = tag(tokens)
        return {
            tokens[first : first + length]
            for first, length in _spans(tokens, options)
            if set(kinds[first : first + length]) <= {"noun", "adjective"} and kinds[first + length - 1] == "noun"
        }

    return _best(_count(map(found, captions)), wanted)


_MODELS = {"en": "morphmodel_en.pgz", "de": "morphmodel_ger.pgz", "nl": "morphmodel_dutch.pgz"}
_NOUNS, _ADJECTIVES = ("NN", "NP0", "N(", "NE"), ("AJ", "ADJ")  # beginnings of tags: BNC, STTS and the Dutch set


def _tagger(language: str) -> Callable[[tuple[str, ...]], list[str]]:
    """A function from tokens to "noun", "adjective" or "" for each."""
    try:
        from HanTa.HanoverTagger import HanoverTagger
    except ImportError:
        raise UsageError("--method nouns needs HanTa: pip install 'sclip-plugin[nouns]'") from None
    if language not in _MODELS:
        raise UsageError(f"--method nouns: no tagger for --language {language}; there are: {', '.join(_MODELS)}")
    tagger = HanoverTagger(_MODELS[language])

    def tag(tokens: tuple[str, ...]) -> list[str]:
        tags = [str(one[2]) for one in tagger.tag_sent(list(tokens))] if tokens else []
        return ["noun" if t.startswith(_NOUNS) else "adjective" if t.startswith(_ADJECTIVES) else "" for t in tags]

    return tag


def _spans(tokens: tuple[str, ...], options: PhraseOptions) -> Iterator[tuple[int, int]]:
    """(first, length) of the phrases that may become keywords."""
    stop = options.stop
    says = [len(token) > 1 and not token.isdigit() and token not in stop for token in tokens]
    for length in range(1, options.max_words + 1):
        for first in range(len(tokens) - length + 1):
            if says[first] and says[first + length - 1]:
                yield first, length


def _phrases_of(tokens: tuple[str, ...], options: PhraseOptions) -> list[Phrase]:
    """The phrases that may become keywords; one that occurs twice comes twice."""
    return [tokens[first : first + length] for first, length in _spans(tokens, options)]


def _count(sets: Iterable[set[Phrase]]) -> Counter[Phrase]:
    """How many sets hold each phrase. Memory is bounded, so that rare phrases may be missing."""
    counts: Counter[Phrase] = Counter()
    for one in sets:
        counts.update(one)
        if len(counts) > MOST_COUNTED:
            _drop_rare(counts)
    return counts


def _drop_rare(counts: Counter[Phrase]) -> None:
    """Remove the phrases that were seen once."""
    for phrase in [phrase for phrase, count in counts.items() if count == 1]:
        del counts[phrase]


def _best(score: Mapping[Phrase, float], wanted: int) -> list[str]:
    order = sorted(score, key=lambda phrase: (-score[phrase], phrase))
    return [" ".join(phrase) for phrase in order[:wanted]]


METHODS: dict[str, Callable[[Iterable[str], int, PhraseOptions], list[str]]] = {
    "yake": yake_phrases,
    "frequency": frequent_phrases,
    "tfidf": tfidf_phrases,
    "nouns": noun_phrases,
}
