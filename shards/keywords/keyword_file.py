"""The text of a keyword file: two lines of comment, then one keyword a line (`Vocabulary.load` reads it)."""

from collections.abc import Sequence

from sclip_plugin.shards.keywords.extraction import CountedKeywords, ExtractionOptions


def origin_of_phrases(options: ExtractionOptions) -> str:
    """The command that extracts keywords with these options, for the file's first line."""
    phrases = options.phrases
    return (
        f"sclip keywords --method {options.method} --top {options.top} --max-words {phrases.max_words} "
        f"--min-count {options.min_count} --language {phrases.language}"
    )


def origin_of_classes(recipes: Sequence[str], classes: str | None) -> str:
    """The command that takes class names as keywords, for the file's first line.

    Args:
        recipes: names of recipes.
        classes: a file of class names.
    """
    words = ["sclip keywords --method classes", *(f"--recipe {name}" for name in recipes)]
    if classes:  # a file name may hold line ends, and be no UTF-8
        words += ["--classes", *classes.encode("utf-8", "replace").decode().splitlines()]
    return " ".join(words)


def file_text(origin: str, keywords: Sequence[str]) -> str:
    """A keyword file without counts."""
    return f"# {origin}\n# {len(keywords)} keywords\n" + "".join(f"{word}\n" for word in keywords)


def counted_file_text(origin: str, counted: CountedKeywords) -> str:
    """A keyword file with the number of captions behind each keyword, as a comment."""
    head = f"# {len(counted.keywords)} keywords out of {counted.captions} captions"
    lines = "".join(f"{word}\t# {counted.frequency[word]}\n" for word in counted.keywords)
    return f"# {origin}\n{head}; behind each, the number of captions that hold it\n{lines}"
