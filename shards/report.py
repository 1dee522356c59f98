"""What `sclip convert` prints at its end: a table of what it wrote, and the commands that come next."""

import os
from collections.abc import Mapping, Sequence
from typing import Final

from sclip_plugin.shards import layout
from sclip_plugin.shards.manifest import Counts, Manifest
from sclip_plugin.shards.next_steps import evaluation_steps, training_steps
from sclip_plugin.shards.sample import Tally
from sclip_plugin.storage.location import Location

IN_STUDY: Final = "SCLIP_IN_STUDY"  # a variable of the environment, which a study sets for its commands
SHOWN: Final = 3  # groups of equal images that are named, and names of each

#: a row of the table: part, images, captions, shards, and bytes where they are known
Row = tuple[str, int, int, int, int | None]


def reasons(tally: Tally) -> str:
    """How much was read, and what was skipped for which reason, in one line."""
    skipped = {**tally.skipped_images, **tally.skipped_captions}
    listed = ", ".join(f"{reason}: {count}" for reason, count in sorted(skipped.items()) if count) or "nothing skipped"
    return f"{tally.images} images and {tally.captions} captions read ({listed})"


def show(root: Location, manifest: Manifest, classification: str | None) -> None:
    """Print what a conversion wrote, and the commands that come next.

    A study goes on by itself, and some of its conversions make evaluation sets only, so there no commands are named.

    Args:
        root: folder of the set.
        manifest: its manifest.
        classification: name of the classification set; None for a training set.
    """
    counts = manifest["counts"]
    shards, sizes = {}, {}
    for kind in counts["images"]["written"]:
        folder = f"{layout.shard_folder(kind)}/"
        of_kind = [shard["bytes"] for name, shard in manifest["shards"].items() if name.startswith(folder)]
        shards[kind], sizes[kind] = len(of_kind), sum(of_kind)
    show_counts(counts, shards, sizes)
    show_equal(manifest.get("equal_images", []))
    if own := layout.own_readme(root):
        print(f"note: {own} is yours and is kept, so there is no dataset card for Hugging Face's load_dataset")
    if os.environ.get(IN_STUDY):
        return
    print()
    if classification:
        steps = evaluation_steps(root, classification)
    else:
        steps = training_steps(root, counts["images"]["written"], shards)
    print(*steps, sep="\n")


def show_counts(counts: Counts, shards: Mapping[str, int], sizes: Mapping[str, int] | None = None) -> None:
    """Print a row for each part, and then what was left out and why.

    Args:
        counts: of the manifest.
        shards: {part: shards}.
        sizes: {part: bytes}; None where nothing was written.
    """
    written, captions = counts["images"]["written"], counts["captions"]["written"]
    rows: list[Row] = [
        (kind, number, captions.get(kind, 0), shards[kind], sizes[kind] if sizes else None)
        for kind, number in written.items()
    ]
    for line in count_lines(rows):
        print(line)
    for what, one in (("images", counts["images"]), ("captions", counts["captions"])):
        left = sum(one["skipped"].values())
        print(f"{what}: {one['read']} read = {sum(one['written'].values())} written + {left} skipped")
        _lines("    skipped", one["skipped"])
    _lines("images re-encoded", counts["recoded"])
    _lines("note", counts["notes"])


def count_lines(rows: Sequence[Row]) -> list[str]:
    """The lines of a table of parts; the last column, megabytes, is missing where the first row has no bytes."""
    width = max(10, *(len(row[0]) + 1 for row in rows)) if rows else 10
    with_size = bool(rows) and rows[0][4] is not None
    lines = [f"{'':{width}}{'images':>9}{'captions':>10}{'shards':>8}" + (f"{'MB':>9}" if with_size else "")]
    for name, images, captions, shards, size in rows:
        line = f"{name:{width}}{images:>9}{captions:>10}{shards:>8}"
        lines.append(line if size is None else f"{line}{size / 1e6:>9.1f}")
    return lines


def show_equal(equal: Sequence[Sequence[str]]) -> None:
    """Print the first groups of images with the same bytes."""
    for group in equal[:SHOWN]:
        print(f"the same bytes: {', '.join(group[:SHOWN])}{' …' if len(group) > SHOWN else ''}")
    if len(equal) > SHOWN:
        print(f"… and {len(equal) - SHOWN} groups more, as {layout.MANIFEST} lists")


def _lines(title: str, table: Mapping[str, int]) -> None:
    for reason, count in table.items():
        print(f"{title}: {count} ({reason})")
