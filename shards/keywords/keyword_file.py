"""The text of a keyword file: lines of comment, then one keyword a line (`Vocabulary.load` reads it)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sclip_plugin.shards.keywords.extraction import CountedKeywords, ExtractionOptions

if TYPE_CHECKING:  # torch is imported only where a model is asked for
    from sclip_plugin.shards.keywords.pruning import Dropped


def origin_of_phrases(options: ExtractionOptions, method: str) -> str:
    """The command that extracts keywords with these options, for the file's first line.

    Args:
        options: how phrases are chosen.
        method: the command's method, which may be more than that of the options ("classes+yake").
    """
    phrases = options.phrases
    return (
        f"sclip keywords --method {method} --top {options.top} --max-words {phrases.max_words} "
        f"--min-count {options.min_count} --language {phrases.language}"
    )


def origin_of_classes(recipes: Sequence[str], classes: str | None) -> str:
    """The command that takes class names as keywords, for the file's first line.

    Args:
        recipes: names of recipes.
        classes: a file of class names.
    """
    return f"sclip keywords --method classes{flags_of_names(recipes, classes)}"


def flags_of_names(recipes: Sequence[str], classes: str | None) -> str:
    """The flags that say where class names come from, with a space before each, for a file's first line."""
    return "".join(f" --recipe {name}" for name in recipes) + (f" --classes {_shown(classes)}" if classes else "")


def flags_of_pruning(model: str, pretrained: str | None) -> str:
    """The flags that pruned keywords, with a space before each, for a file's first line."""
    return f" --prune --model {_shown(model)}" + (f" --pretrained {_shown(pretrained)}" if pretrained else "")


def _shown(path: str) -> str:
    """A file name as a part of one line: it may hold line ends, and be no UTF-8."""
    return " ".join(path.encode("utf-8", "replace").decode().splitlines())


def file_text(origin: str, keywords: Sequence[str]) -> str:
    """A keyword file without counts."""
    return f"# {origin}\n# {len(keywords)} keywords\n" + "".join(f"{word}\n" for word in keywords)


def counted_file_text(origin: str, counted: CountedKeywords) -> str:
    """A keyword file with the number of captions behind each keyword, as a comment."""
    head = f"# {len(counted.keywords)} keywords out of {counted.captions} captions"
    lines = "".join(f"{word}\t# {counted.frequency[word]}\n" for word in counted.keywords)
    return f"# {origin}\n{head}; behind each, the number of captions that hold it\n{lines}"


def dropped_text(dropped: Sequence["Dropped"]) -> str:
    """The proposals that pruning has dropped, as lines of comment that stand at the end of a keyword file."""
    return "".join(
        f"# dropped: {one.keyword}: {one.reason}{f' ({one.detail})' if one.detail else ''}\n" for one in dropped
    )
