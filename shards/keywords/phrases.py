"""Ways to rank candidate keywords: each takes a stream of captions and gives phrases, best first.

`words()` decides what is one and the same keyword: equal without case and punctuation. Legend: C captions.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.keywords import words
from sclip_plugin.shards.threads import in_processes

CHUNK = 5000  # captions that YAKE sees as one document: about 2 s and little memory
DEPTH = 10  # candidates taken from a chunk, as a multiple of those wanted
MOST_COUNTED = 1_000_000  # phrases counted at a time; beyond, those seen once are forgotten


@dataclass(frozen=True)
class Style:
    """max_words: of a phrase. language: of YAKE's stop-words. stop: words, split as captions are, that no keyword
    begins or ends with. workers: processes."""

    max_words: int
    language: str
    stop: frozenset[str]
    workers: int = 1


def yake_keywords(captions: Iterable[str], wanted: int, style: Style) -> list[str]:
    """YAKE (the paper's method) over chunks of captions.

    YAKE's score is lower for better. A keyword's score is its mean over the chunks; a chunk that lacks it gives its
    worst score. With one chunk this is YAKE's own order. Its de-duplication by edit distance is off (it merges "park"
    with "parks", which are different whole words); spellings equal in `words()` are merged.

    Raises:
        DataError: YAKE returns nothing for a chunk that has words (it hides its own errors so).
    """
    gain: Counter = Counter()
    surface: dict[tuple[str, ...], str] = {}
    for ranked in in_processes(partial(_yake_chunk, DEPTH * wanted, style), _chunks(captions), style.workers):
        _add_chunk(ranked, gain, surface)
    order = sorted(gain, key=lambda key: (-gain[key], key))
    return [surface[key] for key in order[:wanted]]


def _yake_chunk(depth: int, style: Style, chunk: list[str]) -> list[tuple[str, float]]:
    import yake

    extractor = yake.KeywordExtractor(
        lan=style.language, n=style.max_words, dedup_lim=1.0, top=depth, stopwords=set(style.stop)
    )
    ranked = extractor.extract_keywords("\n".join(_sentence(caption) for caption in chunk))
    if not ranked and frequent_phrases(chunk, 1, style):
        raise DataError(f"YAKE finds nothing in {len(chunk)} captions; try --method frequency")
    return ranked


def _add_chunk(ranked: list[tuple[str, float]], gain: Counter, surface: dict) -> None:
    worst = max((score for _, score in ranked), default=0.0)
    best: dict[tuple[str, ...], float] = {}
    for text, score in ranked:
        key = words(text)
        if key and not all(word.isdigit() for word in key):
            surface.setdefault(key, _spelling(text, key))
            best[key] = min(score, best.get(key, score))
    for key, score in best.items():
        gain[key] += worst - score


def _spelling(text: str, key: tuple[str, ...]) -> str:
    """How a keyword is written in the file: as found, unless the file format would misread it."""
    text = " ".join(text.lower().split())
    return text if not text.startswith("#") and words(text) == key else " ".join(key)


def _chunks(captions: Iterable[str]) -> Iterator[list[str]]:
    captions = iter(captions)
    while chunk := list(islice(captions, CHUNK)):
        yield chunk


def _sentence(caption: str) -> str:
    """Phrases must not run from one caption into the next."""
    return caption if caption.endswith((".", "!", "?")) else caption + "."


def frequent_phrases(captions: Iterable[str], wanted: int, style: Style) -> list[str]:
    """The phrases in most captions; none begins or ends with a stop-word, a number or a single letter."""
    counts = _count(_phrases(words(caption), style) for caption in captions)
    return _best(counts, wanted)


def tfidf_phrases(captions: Iterable[str], wanted: int, style: Style) -> list[str]:
    """Phrases by the sum over captions of tf·idf, with idf = ln((1 + C) / (1 + captions with it)) + 1 (as scikit-learn
    smooths it): words that nearly every caption holds fall behind those that tell captions apart."""
    total, occurrences = 0, Counter()

    def counted() -> Iterator[set]:
        nonlocal total
        for caption in captions:
            total += 1
            found = _runs(words(caption), style)
            occurrences.update(found)
            if len(occurrences) > 2 * MOST_COUNTED:
                _forget_rare(occurrences)
            yield set(found)

    held = _count(counted())
    score = {key: occurrences[key] * (math.log((1 + total) / (1 + number)) + 1) for key, number in held.items()}
    return _best(score, wanted)


def noun_phrases(captions: Iterable[str], wanted: int, style: Style) -> list[str]:
    """The noun phrases (adjectives and nouns that end in a noun) in most captions, tagged by HanTa.

    Raises:
        UsageError: HanTa is not installed, or knows no such language.
    """
    tag = _tagger(style.language)

    def found(caption: str) -> set[tuple[str, ...]]:
        tokens = words(caption)
        kinds = tag(tokens)
        return {
            tokens[first : first + length]
            for first, length in _spans(tokens, style)
            if set(kinds[first : first + length]) <= {"noun", "adjective"} and kinds[first + length - 1] == "noun"
        }

    return _best(_count(map(found, captions)), wanted)


_MODELS = {"en": "morphmodel_en.pgz", "de": "morphmodel_ger.pgz", "nl": "morphmodel_dutch.pgz"}
_NOUNS, _ADJECTIVES = ("NN", "NP0", "N(", "NE"), ("AJ", "ADJ")  # beginnings of tags: BNC, STTS and the Dutch set


def _tagger(language: str) -> Callable[[tuple[str, ...]], list[str]]:
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


def _spans(tokens: tuple[str, ...], style: Style) -> Iterator[tuple[int, int]]:
    """(first, length) of the phrases that may be keywords."""
    says = [len(token) > 1 and not token.isdigit() and token not in style.stop for token in tokens]
    for length in range(1, style.max_words + 1):
        for first in range(len(tokens) - length + 1):
            if says[first] and says[first + length - 1]:
                yield first, length


def _runs(tokens: tuple[str, ...], style: Style) -> list[tuple[str, ...]]:
    return [tokens[first : first + length] for first, length in _spans(tokens, style)]


def _phrases(tokens: tuple[str, ...], style: Style) -> set[tuple[str, ...]]:
    return set(_runs(tokens, style))


def _count(sets: Iterable[set]) -> Counter:
    """How many sets hold each phrase; in bounded memory, so that what is rare may be missing."""
    counts: Counter = Counter()
    for one in sets:
        counts.update(one)
        if len(counts) > MOST_COUNTED:
            _forget_rare(counts)
    return counts


def _forget_rare(counts: Counter) -> None:
    for key in [key for key, count in counts.items() if count == 1]:
        del counts[key]


def _best(score: dict, wanted: int) -> list[str]:
    order = sorted(score, key=lambda key: (-score[key], key))
    return [" ".join(key) for key in order[:wanted]]


def _stop_folder() -> Path:
    import yake

    return Path(yake.__file__).parent / "core" / "StopwordsList"


@cache
def languages() -> tuple[str, ...]:
    """Codes of the stop-word lists that YAKE ships."""
    names = (path.stem.removeprefix("stopwords_") for path in _stop_folder().glob("stopwords_*.txt"))
    return tuple(sorted(name for name in names if len(name) == 2))


@cache
def stop_words(language: str) -> frozenset[str]:
    """YAKE's stop-words of a language, split as captions are."""
    text = (_stop_folder() / f"stopwords_{language}.txt").read_text(encoding="utf-8", errors="replace")
    return frozenset(word for line in text.splitlines() for word in words(line))


METHODS = {
    "yake": yake_keywords,
    "frequency": frequent_phrases,
    "tfidf": tfidf_phrases,
    "nouns": noun_phrases,
}
