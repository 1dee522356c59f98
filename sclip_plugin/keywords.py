"""The keyword vocabulary: which keywords or phrases occur in a caption (paper section 4.2).

Legend: K keywords.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sclip_plugin.errors import DataError
from sclip_plugin.storage.location import location

if TYPE_CHECKING:  # reading keyword files costs no import of torch
    from torch import Tensor

# A word is a run of letters and digits; an apostrophe or any other punctuation separates. "trees." matches "trees".
_WORD = re.compile(r"[^\W_]+", re.UNICODE)

LONGEST_LINE = 10_000  # characters of a line of a keyword file, its comment included (ours)


def words(text: str) -> tuple[str, ...]:
    """The words of `text`, case-folded and without punctuation. This project splits text into words in no other way."""
    return tuple(_WORD.findall(text.casefold()))


def read_lines(path: str | Path, what: str) -> list[str]:
    """The lines of a text file that holds a word, a phrase or a name on each.

    Args:
        path: the file, by path or URL.
        what: what messages call it.

    Raises:
        DataError: it cannot be read, or is not UTF-8 text of such lines.
    """
    try:
        lines = location(str(path)).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{what}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except OSError as error:
        raise DataError(f"{what}: {error.strerror or error}") from None
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            raise DataError(f"{what}: line {number} holds a NUL byte: not a text file")
        if len(line) > LONGEST_LINE:
            raise DataError(f"{what}: line {number} has {len(line)} characters; it must hold one word, phrase or name")
    return lines


class Vocabulary:
    """An ordered set of K keywords with whole-word phrase matching.

    One pass over a caption's word n-grams finds every keyword, overlapping ones too, at a cost that does not depend
    on K. Case and punctuation do not count.

    Example:
        >>> vocabulary = Vocabulary(["parking lot", "lot", "tree", "trees"])
        >>> vocabulary.indices("A PARKING lot, with trees.")
        [0, 1, 3]
        >>> vocabulary.matches("One tree.")
        tensor([False, False,  True, False])

    Args:
        keywords: the K keywords or phrases, in order.
        source: what error messages call their origin.

    Attributes:
        keywords: the K keywords as they were given.

    Raises:
        DataError: there is no keyword at all, one has no letter or digit, or two are equal without case and
            punctuation.
    """

    def __init__(self, keywords: Iterable[str], source: str = "keywords") -> None:
        self._build([(f"keyword {number}", text) for number, text in enumerate(keywords, 1)], source)

    def _build(self, entries: list[tuple[str, str]], source: str) -> None:
        self.keywords: list[str] = []
        self._index: dict[tuple[str, ...], int] = {}
        where: list[str] = []
        for place, text in entries:
            key = words(text)
            if not key:
                raise DataError(f"{source}: {place} ({text!r}) has no letter or digit")
            if key in self._index:
                first = self._index[key]
                raise DataError(
                    f"{source}: duplicate keyword: {where[first]} ({self.keywords[first]!r}) and {place} ({text!r})"
                )
            self._index[key] = len(self.keywords)
            self.keywords.append(text)
            where.append(place)
        if not self.keywords:
            raise DataError(f"{source}: no keywords")
        self._lengths = sorted({len(key) for key in self._index})

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Read a vocabulary file, which holds one keyword a line.

        Lines that begin with `#`, anything from TAB `#` on, and blank lines are ignored.

        Raises:
            DataError: the file is missing, empty or not UTF-8 text, or holds what `Vocabulary` refuses; names the
                lines.
        """
        entries = []
        for number, line in enumerate(read_lines(path, f"keyword file {path}"), 1):
            keyword = "" if line.startswith("#") else line.split("\t#", 1)[0].strip()
            if keyword:
                entries.append((f"line {number}", keyword))
        vocabulary = cls.__new__(cls)
        vocabulary._build(entries, f"keyword file {path}")
        return vocabulary

    def __len__(self) -> int:
        return len(self.keywords)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keywords)

    def indices(self, caption: str) -> list[int]:
        """The indices of the keywords that occur in `caption`, sorted."""
        tokens = words(caption)
        lookup = self._index.get
        found = {
            hit
            for length in self._lengths
            for start in range(len(tokens) - length + 1)
            if (hit := lookup(tokens[start : start + length])) is not None
        }
        return sorted(found)

    def matches(self, caption: str) -> "Tensor":
        """Which keywords occur in `caption`, as bool (K,)."""
        import torch

        row = torch.zeros(len(self), dtype=torch.bool)
        row[self.indices(caption)] = True
        return row

    def held_by(self, captions: Sequence[Sequence[str]]) -> "Tensor":
        """Which keywords the captions of each of N pairs hold, any of them, as bool (N, K)."""
        import torch

        held = torch.zeros(len(captions), len(self), dtype=torch.bool)
        for row, texts in enumerate(captions):
            held[row, [number for text in texts for number in self.indices(text)]] = True
        return held
