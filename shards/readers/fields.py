"""What a source says of one image, as typed values: every reader turns its raw records into `Fields`, and nothing else.

A raw record may hold anything: JSON has numbers and lists where a text is expected, parquet has bytes and dates. What
can be taken as a text is; what cannot is counted, so that nothing is turned into a caption that nobody wrote.
"""

import datetime
import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from sclip_plugin.shards.readers.base import Record, split_name
from sclip_plugin.shards.sample import Tally

NOT_TEXT: Final = "caption that is not text"
BAD_GROUP: Final = "group that is neither text nor a number"
BAD_LABEL: Final = "label that is neither text nor a number: not used"
BAD_SPLIT: Final = "(neither text nor a number)"  # stands for the split, so that the image is left out and counted
BAD_TEXT: Final = "text with halves of surrogate pairs, which are no Unicode: replaced by ?"
DEEPEST: Final = 4  # lists in lists that a caption field may be (ours)

_SCALARS = (str, int, float, Decimal, UUID, datetime.date, datetime.time, datetime.timedelta)


class NotTextError(Exception):
    """A value that cannot be taken as a text."""


def text_of(value: object) -> str | None:
    """A scalar as text; None where it is missing or empty.

    Raises:
        NotTextError: a list, an object, or bytes that are not UTF-8.
    """
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise NotTextError from None
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, _SCALARS):
        raise NotTextError
    return str(value)


def text_or_none(value: object) -> str | None:
    """`text_of`, with None for what cannot be taken as a text."""
    try:
        return text_of(value)
    except NotTextError:
        return None


def captions_of(value: object) -> tuple[list[str], int]:
    """(texts, how many others) of a caption field: one text, a list of them, or objects as in Karpathy's `sentences`.

    Numbers are no captions, as in training (`data.samples.captions`).
    """
    found = list(_captions(value, DEEPEST))
    texts = [text for text in found if text is not None]
    return texts, len(found) - len(texts)


def _captions(value: object, depth: int) -> Iterator[str | None]:
    """The texts of a caption field; None for each value that is not one."""
    if isinstance(value, dict):  # {"raw": …}
        known = [value[name] for name in ("raw", "text") if name in value]
        value = known[0] if known else value
    if isinstance(value, list):  # a tuple is an entry of an Arrow map, whose key is no caption
        for one in value:
            if depth:
                yield from _captions(one, depth - 1)
            else:
                yield None
    elif isinstance(value, str | bytes):
        try:
            yield text_of(value) or ""
        except NotTextError:
            yield None
    elif not (value is None or (isinstance(value, float) and math.isnan(value))):
        yield None


@dataclass(frozen=True)
class Fields:
    """What a record says of an image.

    Attributes:
        image: its name; "" where the record has none, or something else than a text.
        captions: the texts.
        label: class name.
        group: what is not to be split.
        split: under its usual name.
        lost: values in the place of captions that are not texts.
        fault: why the record must not be used; "" where it may.
        notes: what the user should see although nothing is left out for it.
    """

    image: str
    captions: list[str]
    label: str | None = None
    group: str | None = None
    split: str | None = None
    lost: int = 0
    fault: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, record: Record) -> "Fields":
        """The fields of {role: value}, with the roles of `columns.ROLES`; all may be absent."""
        captions, lost = captions_of(record.get("caption"))
        values: dict[str, str | None] = {}
        notes = []
        fault = ""
        for role in ("label", "group", "split"):
            try:
                values[role] = text_of(record.get(role))
            except NotTextError:
                values[role] = BAD_SPLIT if role == "split" else None
                fault = BAD_GROUP if role == "group" else fault
                notes += [BAD_LABEL] if role == "label" else []
        for role, text in values.items():
            if text is not None and not is_unicode(text):
                values[role] = text.encode("utf-8", "replace").decode()
                notes.append(BAD_TEXT)
        notes += [BAD_TEXT for text in captions if not is_unicode(text)]
        return cls(
            text_or_none(record.get("image")) or "",
            captions,
            values["label"],
            values["group"],
            split_name(values["split"]),
            lost,
            fault,
            tuple(notes),
        )

    def count(self, tally: Tally) -> None:
        """Count what is not used although the image is."""
        tally.skip_captions(NOT_TEXT, self.lost)
        tally.notes.update(self.notes)

    def skip_captions(self, reason: str, tally: Tally) -> None:
        """Count all captions of the record as left out: nothing is said of its image."""
        tally.skip_captions(reason, len(self.captions) + self.lost)

    def skip_image(self, reason: str, tally: Tally) -> None:
        """Count the image and all its captions as left out."""
        tally.skip_image(reason, len(self.captions) + self.lost)


def is_unicode(text: str) -> bool:
    """False for a text with halves of surrogate pairs."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)
