"""What `sclip convert --dry-run` shows: what would be written and skipped, and a few samples to look at."""

from pathlib import Path

from sclip_plugin.decoding import ImageFault
from sclip_plugin.shards import layout, report
from sclip_plugin.shards.contact_sheet import COLUMNS, Thumbnail, draw
from sclip_plugin.shards.conversion.build import planned
from sclip_plugin.shards.conversion.plan import ShardPlan
from sclip_plugin.shards.images import encode
from sclip_plugin.shards.sample import Sample, Tally


def preview(plan: ShardPlan, tally: Tally, equal: list[list[str]], sheet: Path) -> None:
    """Print the counts and one sample of each part, and write a contact sheet.

    Args:
        plan: the shard plan, of which nothing is written.
        tally: what was read and left out.
        equal: source names of images with the same bytes, in groups.
        sheet: where the contact sheet goes.
    """
    counts = planned(plan, tally)
    report.show_counts(counts, {kind: plan.shards(kind) for kind in plan.sizes})
    report.show_equal(equal)
    rows = []
    for kind, size in plan.sizes.items():
        samples = list(plan.index.placed(kind, 0, min(2 * COLUMNS, size)))
        first = samples[0]
        print(f"{kind}: {first.source} -> {first.key}.{first.suffix}: {' | '.join(first.captions) or _label(first)}")
        thumbnails = [thumbnail for one in samples if (thumbnail := _thumbnail(plan, kind, one))]
        rows.append((f"{kind}: {size} images", thumbnails))
    draw(rows, sheet)
    print(f"\nnothing written but {sheet}; without --dry-run the shards go to {plan.root}")


def _label(sample: Sample) -> str:
    return f"label: {sample.label}" if sample.label else "no text"


def _thumbnail(plan: ShardPlan, kind: str, sample: Sample) -> Thumbnail | None:
    """The image as it would be written with what is said of it, None where it does not decode."""
    try:
        data = sample.image.read()
        data = encode(data, sample.suffix, plan.transform) if sample.recode else data
        texts = sample.captions if kind in (layout.PAIRED, layout.VAL) else [_label(sample)]
        return Thumbnail(data, tuple(texts))
    except ImageFault:
        return None
