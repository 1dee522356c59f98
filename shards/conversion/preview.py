"""What `sclip convert --dry-run` shows: what would be written and skipped, and a few samples to look at."""

from pathlib import Path

from sclip_plugin.decoding import ImageFault
from sclip_plugin.shards import layout, report
from sclip_plugin.shards.contact_sheet import COLUMNS, Thumbnail, draw
from sclip_plugin.shards.conversion.build import planned
from sclip_plugin.shards.conversion.writer import Plan
from sclip_plugin.shards.images import encode
from sclip_plugin.shards.sample import Sample, Tally


def preview(plan: Plan, tally: Tally, equal: list[list[str]], sheet: str) -> None:
    """Print the counts and a sample of each part; write the contact sheet."""
    counts = planned(plan, tally)
    report.show_counts(
        counts, {kind: sum(job.kind == kind for job in plan.jobs) for kind in counts["images"]["written"]}
    )
    report.show_equal(equal)
    rows = []
    for kind in counts["images"]["written"]:
        stop = max(job.stop for job in plan.jobs if job.kind == kind)
        samples = list(plan.index.placed(kind, 0, min(2 * COLUMNS, stop)))
        first = samples[0]
        print(f"{kind}: {first.source} -> {first.key}.{first.suffix}: {' | '.join(first.captions) or _label(first)}")
        rows.append(
            (f"{kind}: {stop} images", [thumbnail for one in samples if (thumbnail := _thumbnail(plan, kind, one))])
        )
    draw(rows, Path(sheet))
    print(f"\nnothing written but {sheet}; without --dry-run the shards go to {plan.root}")


def _label(sample: Sample) -> str:
    return f"label: {sample.label}" if sample.label else "no text"


def _thumbnail(plan: Plan, kind: str, sample: Sample) -> Thumbnail | None:
    try:
        data = sample.image.read()
        data = encode(data, sample.suffix, plan.transform) if sample.recode else data
        texts = sample.captions if kind in (layout.PAIRED, layout.VAL) else [_label(sample)]
        return Thumbnail(data, tuple(texts))
    except ImageFault:
        return None
