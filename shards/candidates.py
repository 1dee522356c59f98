"""Ways to rank candidate keywords: each takes a stream of captions and gives phrases, best first.

`words()` decides what is one and the same keyword: equal without case and punctuation. Legend: C captions.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path

from sclip_plugin.errors import DataError
from sclip_plugin.keywords import words

CHUNK = 5000  # captions that YAKE sees as one document: about 2 s and little memory
DEPTH = 10  # candidates taken from a chunk, as a multiple of those wanted
MOST_COUNTED = 1_000_000  # phrases counted at a time; beyond, those seen once are forgotten


def yake_keywords(captions: Iterable[str], top: int, max_words: int, language: str) -> list[str]:
    """YAKE (the paper's method) over chunks of captions.

    YAKE's score is lower for better. A keyword's score is its mean over the chunks; a chunk that lacks it gives its
    worst score. With one chunk this is YAKE's own order. De-duplication by edit distance is off (it merges "park"
    with "parks", which are different whole words); spellings equal in `words()` are merged.

    Raises:
        DataError: YAKE returns nothing for a chunk that has words (it hides its own errors so).
    """
    import yake

    depth = DEPTH * top
    extractor = yake.KeywordExtractor(lan=language, n=max_words, dedup_lim=1.0, top=depth)
    gain: Counter = Counter()
    surface: dict[tuple[str, ...], str] = {}
    for chunk in _chunks(captions):
        ranked = extractor.extract_keywords("\n".join(_sentence(caption) for caption in chunk))
        if not ranked and frequent_phrases(chunk, 1, 1, language):
            raise DataError(f"YAKE finds nothing in {len(chunk)} captions; try --method frequency")
        _add_chunk(ranked, gain, surface)
    order = sorted(gain, key=lambda key: (-gain[key], key))
    return [surface[key] for key in order[:top]]


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


def frequent_phrases(captions: Iterable[str], top: int, max_words: int, language: str) -> list[str]:
    """The phrases in most captions; none begins or ends with a stop-word, a number or a single letter."""
    stop = stop_words(language)
    counts: Counter = Counter()
    for caption in captions:
        counts.update(_phrases(words(caption), max_words, stop))
        if len(counts) > MOST_COUNTED:
            counts = Counter({key: count for key, count in counts.items() if count > 1})
    order = sorted(counts, key=lambda key: (-counts[key], key))
    return [" ".join(key) for key in order[:top]]


def _phrases(tokens: tuple[str, ...], max_words: int, stop: frozenset[str]) -> set[tuple[str, ...]]:
    says = [len(token) > 1 and not token.isdigit() and token not in stop for token in tokens]
    return {
        tokens[first : first + length]
        for length in range(1, max_words + 1)
        for first in range(len(tokens) - length + 1)
        if says[first] and says[first + length - 1]
    }


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


METHODS = {"yake": yake_keywords, "frequency": frequent_phrases}
