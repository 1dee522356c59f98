"""Who goes where: keys, and the split into val, paired and unpaired.

Everything is ordered by a hash of seed and name, not by position, so that a smaller set is part of a larger one and
adding images moves few of the others. The samples stand in a `SampleIndex`; memory does not grow with their number.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from sclip_plugin.errors import DataError
from sclip_plugin.shards.conversion.index import SampleIndex
from sclip_plugin.shards.layout import CLASSES, PAIRED, UNPAIRED, VAL

UNPAIRED_GROUP = "no caption, and its group is in paired or val"
HELD_OUT_BARE = "no caption, and held out by the source's own split"
SAME_BYTES = "held out, but the same bytes are in paired or unpaired"
NOT_READ_HERE = "in the source's own split {!r}"
HELD_OUT: Final = ("val", "test")  # splits of a source that are held out, unless told otherwise


@dataclass(frozen=True)
class Ratios:
    """How samples are split, and what decides their order.

    Attributes:
        val: share of the captioned images that is held out.
        paired: share of the other captioned images that keeps its captions.
        seed: decides who is in which part, and the order in the shards.
        held_out: splits of the sources that are held out; None if the sources' own splits do not count.
    """

    val: float
    paired: float
    seed: int
    held_out: tuple[str, ...] | None = HELD_OUT


def assign_keys(index: SampleIndex) -> None:
    """Give every usable sample that has none its key: the source's path without suffix, in letters, digits, `_`, `-`.

    Keys that would come out equal (also without case) get eight digits of the source's hash.

    Raises:
        DataError: two source names differ in nothing but the suffix; the message names both files.
    """
    twice = index.same_stem()
    if twice:
        raise DataError(f"two images of the same key: {twice[0]} and {twice[1]}; rename or remove one")
    index.make_keys()


def split(index: SampleIndex, ratios: Ratios, skipped: Counter[str]) -> None:
    """Put each usable sample into paired, unpaired or val.

    Val is taken first, `ratios.val` of the images with captions (of a source that holds some out itself: those), then
    `ratios.paired` of the rest; the others' captions are hidden. A group is taken whole, so that counts may exceed the
    ratios by part of a group. Left out, counted in `skipped`: images in a split of the source that is neither trained
    on nor held out, captionless images whose group went to paired or val or that the source holds out, and images of
    val whose bytes stand in paired or unpaired too.
    """
    _take_source_splits(index, ratios, skipped)
    index.make_units(ratios.seed, held_part=VAL)
    index.give_units(VAL, round(ratios.val * index.undecided(free=True)), free=True)
    index.give_units(PAIRED, max(1, round(ratios.paired * index.undecided())))
    index.give_other_units(UNPAIRED)
    index.follow_units()
    skipped[UNPAIRED_GROUP] += index.leave_out_bare_of((PAIRED, VAL))
    index.give_bare(UNPAIRED)
    skipped[SAME_BYTES] += index.leave_out_copies(VAL, (PAIRED, UNPAIRED))


def _take_source_splits(index: SampleIndex, ratios: Ratios, skipped: Counter[str]) -> None:
    """Mark which samples may be used at all, and which the sources hold out themselves."""
    index.mark_usable()
    if ratios.held_out is None:
        index.forget_splits()
        return
    index.hold_out(ratios.held_out)
    for name, number in index.leave_out_other_splits().items():
        skipped[NOT_READ_HERE.format(name)] += number
    skipped[HELD_OUT_BARE] += index.leave_out_bare_held()


def take_labelled(index: SampleIndex, subset: str, skipped: Counter[str]) -> list[str]:
    """Turn the split into a classification set: the images with a label, of all parts or of one.

    Args:
        index: of samples that have been split.
        subset: the part whose images are taken, or "all".
        skipped: counts the images that are left out, by reason.

    Returns:
        The class names, sorted.
    """
    if subset != "all":
        skipped[f"not in --subset {subset}"] += index.leave_out_other_parts(subset)
    skipped["no label"] += index.leave_out_unlabelled()
    index.gather(CLASSES)
    return index.labels(CLASSES)
