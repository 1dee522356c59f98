"""Near-duplicates among keywords: "tree" and "trees" would share what one of them should have."""

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


def merge_variants(ranked: list[str], frequency: dict[str, int], language: str) -> list[str]:
    """The keywords in order, of near-duplicates only the one in most captions, where the best of them stood."""
    best: dict[tuple[str, ...], str] = {}
    for word in ranked:
        key = fold(word, language)
        if key not in best or frequency[word] > frequency[best[key]]:
            best[key] = word
    return list(best.values())
