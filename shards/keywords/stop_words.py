"""Stop-words: words such as "the" and "of", with which no keyword begins or ends. YAKE ships the lists."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from sclip_plugin.keywords import words


def _folder() -> Path:
    import yake

    return Path(yake.__file__).parent / "core" / "StopwordsList"


@cache
def languages() -> tuple[str, ...]:
    """The two-letter codes of the languages that have a list, sorted."""
    names = (path.stem.removeprefix("stopwords_") for path in _folder().glob("stopwords_*.txt"))
    return tuple(sorted(name for name in names if len(name) == 2))


@cache
def stop_words(language: str) -> frozenset[str]:
    """The stop-words of a language, split into words as captions are.

    Raises:
        ValueError: there is no list for this language.
    """
    if language not in languages():
        raise ValueError(f"language must be one of {', '.join(languages())}, got {language!r}")
    return split_words((_folder() / f"stopwords_{language}.txt").read_text("utf-8", "replace").splitlines())


def split_words(lines: Iterable[str]) -> frozenset[str]:
    """Every word of some lines, split as captions are."""
    return frozenset(word for line in lines for word in words(line))
