"""What `sclip convert` prints at its end: a table of what it wrote, and the command that trains on it."""

from pathlib import Path

from sclip_plugin.shards import layout
from sclip_plugin.shards.sample import Tally

SHOWN = 3  # groups of equal images named


def reasons(tally: Tally) -> str:
    """One line: how much was read and why what was skipped."""
    skipped = {**tally.skipped_images, **tally.skipped_captions}
    listed = ", ".join(f"{reason}: {count}" for reason, count in sorted(skipped.items()) if count) or "nothing skipped"
    return f"{tally.images} images and {tally.captions} captions read ({listed})"


def show(root: Path, manifest: dict, classification: str | None) -> None:
    """Print the table and what to do next."""
    counts, shards = manifest["counts"], manifest["shards"]
    of = {
        kind: [shard["bytes"] for name, shard in shards.items() if name.startswith(f"{layout.shard_folder(kind)}/")]
        for kind in counts["images"]["written"]
    }
    show_counts(
        counts, {kind: len(sizes) for kind, sizes in of.items()}, {kind: sum(sizes) for kind, sizes in of.items()}
    )
    show_equal(manifest.get("equal_images", []))
    print()
    if classification:
        print(f"sclip eval --model MODEL --pretrained CHECKPOINT --zeroshot {classification}={root}")
    else:
        _show_training(root, counts["images"]["written"], shards)


def show_counts(counts: dict, shards: dict[str, int], sizes: dict[str, int] | None = None) -> None:
    """Print a row for each part, then what was left out and why. shards, sizes: {part: shards}, {part: bytes}."""
    written, captions = counts["images"]["written"], counts["captions"]["written"]
    rows = [
        (kind, number, captions.get(kind, 0), shards[kind], sizes[kind] if sizes else None)
        for kind, number in written.items()
    ]
    for line in count_lines(rows):
        print(line)
    for what in ("images", "captions"):
        one = counts[what]
        left = sum(one["skipped"].values())
        print(f"{what}: {one['read']} read = {sum(one['written'].values())} written + {left} skipped")
        _lines("    skipped", one["skipped"])
    _lines("images re-encoded", counts["recoded"])
    _lines("note", counts["notes"])


def count_lines(rows: list[tuple[str, int, int, int, int | None]]) -> list[str]:
    """Lines of a table: part, images, captions, shards, and megabytes where bytes are given."""
    width = max(10, *(len(row[0]) + 1 for row in rows)) if rows else 10
    with_size = bool(rows) and rows[0][4] is not None
    lines = [f"{'':{width}}{'images':>9}{'captions':>10}{'shards':>8}" + (f"{'MB':>9}" if with_size else "")]
    for name, images, captions, shards, size in rows:
        line = f"{name:{width}}{images:>9}{captions:>10}{shards:>8}"
        lines.append(line + (f"{size / 1e6:>9.1f}" if with_size else ""))
    return lines


def show_equal(equal: list[list[str]]) -> None:
    """Print the first groups of images with equal bytes."""
    for group in equal[:SHOWN]:
        print(f"the same bytes: {', '.join(group[:SHOWN])}{' …' if len(group) > SHOWN else ''}")
    if len(equal) > SHOWN:
        print(f"… and {len(equal) - SHOWN} groups more, as {layout.MANIFEST} lists")


def _lines(title: str, table: dict[str, int]) -> None:
    for reason, count in table.items():
        print(f"{title}: {count} ({reason})")


def _show_training(root: Path, written: dict[str, int], shards: dict) -> None:
    pairs, others = written.get(layout.PAIRED, 0), written.get(layout.UNPAIRED, 0)
    if not pairs:
        print("no captions, so no pairs: add them to another set with --unpaired-data")
        return
    if not others:
        print("no unpaired images, which --loss sclip needs: add --unpaired-images DIR, or lower --paired-ratio")
        return
    sources = {
        kind: layout.pattern(str(root / kind), sum(name.startswith(f"{kind}/") for name in shards))
        for kind in (layout.PAIRED, layout.UNPAIRED)
    }
    batch = min(64, 1 << (pairs.bit_length() - 1))
    keywords = root / "keywords.txt"
    print(f"sclip keywords {root / layout.PAIRED} --out {keywords}")
    print(
        "torchrun --nproc-per-node 1 -m open_clip_train.main --loss sclip \\\n"
        f"    --train-data '{sources[layout.PAIRED]}' --unpaired-data '{sources[layout.UNPAIRED]}' \\\n"
        f"    --keywords {keywords} --batch-size {batch} --model ViT-B-32 --pretrained openai "
        "--lr 5e-5 --warmup 10 --epochs 25"
    )
    if written.get(layout.VAL):
        print(f"sclip eval --model ViT-B-32 --pretrained CHECKPOINT --retrieval val={root / layout.VAL}")
