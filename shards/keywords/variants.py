"""Near-duplicates among keywords: "tree" and "trees" would share the images that one of them should have."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from sclip_plugin.keywords import words


def fold(keyword: str, language: str) -> tuple[str, ...]:
    """What near-duplicates have in common: the words, in English without the ending of the plural."""
    return tuple(_singular(word) if language == "en" else word for word in words(keyword))


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def merge_variants(ranked: Iterable[str], frequency: Mapping[str, int], language: str) -> list[str]:
    """The keywords in order; of near-duplicates the one in most captions, at the place of the best ranked of them.

    Args:
        ranked: keywords, best first.
        frequency: {keyword: captions that hold it}.
        language: two-letter code; plurals are recognised in English only.
    """
    best: dict[tuple[str, ...], str] = {}
    for word in ranked:
        key = fold(word, language)
        if key not in best or frequency[word] > frequency[best[key]]:
            best[key] = word
    return list(best.values())


def without_variants_of(names: Sequence[str], ranked: Sequence[str], language: str | None) -> list[str]:
    """The phrases that are no near-duplicate of a name, in order.

    Args:
        names: keywords that are given.
        ranked: phrases.
        language: two-letter code; plurals are recognised in English only. None: a phrase is left out only where it is
            equal to a name without case and punctuation.
    """
    key = words if language is None else partial(fold, language=language)
    taken = {key(name) for name in names}
    return [phrase for phrase in ranked if key(phrase) not in taken]


def distinct_names(names: Sequence[str]) -> list[str]:
    """Class names as keywords, each once.

    Of names that are equal without case and punctuation the first spelling stands at the place of the last one. Names
    without a letter or digit are left out, and what the keyword file would take for a comment is written in words.
    """
    once = {words(name): _spelling(name) for name in reversed(names) if words(name)}
    return list(reversed(once.values()))


def _spelling(name: str) -> str:
    plain = " ".join(name.split())
    return " ".join(words(plain)) if plain.startswith("#") else plain
