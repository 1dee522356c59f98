"""From a split index to a set on disk: its shard plan, the writing of its shards, and the counts of its manifest."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.names import CLASSIFICATION, RETRIEVAL
from sclip_plugin.shards import layout, report
from sclip_plugin.shards.conversion.dataset_card import write_card
from sclip_plugin.shards.conversion.index import SampleIndex
from sclip_plugin.shards.conversion.plan import ShardPlan, jobs_of
from sclip_plugin.shards.conversion.split import take_labelled
from sclip_plugin.shards.conversion.writer import finish, leave_out_trained, prepare, remove_aside, write_all
from sclip_plugin.shards.engines.engine import Engine
from sclip_plugin.shards.images import Transform
from sclip_plugin.shards.manifest import Counts, Manifest, Origin, ShardStatistics
from sclip_plugin.shards.sample import Tally
from sclip_plugin.storage.location import Location

HIDDEN, NO_SET = "hidden by --paired-ratio", "not part of a classification set"
WITH_IMAGE = "its image was skipped"


@dataclass(frozen=True)
class Target:
    """The set that is to be made.

    Attributes:
        root: its folder, on the disk or in a store.
        what: its sources in words, for messages.
        name: name of the classification set; None for a training set (paired, unpaired and val).
        subset: the part whose images a classification set takes, or "all".
        templates: prompts with `{c}` for the class name, as CLIP_benchmark's files have them.
        shards: how many shards paired and unpaired have each; None: as `shard_size` says.
        shard_size: samples in a shard; None: 1000, but at least 4 shards where these fill (`plan.shard_count`).
        options: what decides the bytes, as the manifest records it.
    """

    root: Location
    what: str
    name: str | None = None
    subset: str = "all"
    templates: tuple[str, ...] = (layout.DEFAULT_TEMPLATE,)
    shards: int | None = None
    shard_size: int | None = None
    options: Mapping[str, object] = field(default_factory=dict)


def build(target: Target, index: SampleIndex, transform: Transform, seed: int, tally: Tally) -> ShardPlan:
    """Place the samples of a split index in shards; counts in `tally` the captions that no shard will have.

    Raises:
        DataError: nothing is left to write, or no caption belongs to an image; the message says what was read and why
            it was skipped.
    """
    classes = take_labelled(index, target.subset, tally.skipped_images) if target.name else []
    parts = index.place(seed)
    if target.name and not parts:
        raise DataError(f"{target.what}: no image with a label; {report.reasons(tally)}")
    if not target.name:
        _check_training(target, parts, tally)
        tally.skipped_captions[HIDDEN] += index.hide_captions(layout.UNPAIRED)
        classes = index.labels(layout.VAL)
    tally.skipped_captions[WITH_IMAGE] += index.captions_without_part()
    jobs = []
    for kind in (*layout.TRAINING, layout.CLASSES):
        shards = None if kind == layout.VAL else target.shards
        jobs += jobs_of(kind, parts.get(kind, 0), shards, target.shard_size)
    return ShardPlan(target.root, jobs, index, transform, target.options, classes)


def _check_training(target: Target, parts: Mapping[str, int], tally: Tally) -> None:
    if not parts:
        raise DataError(f"{target.what}: no usable image; {report.reasons(tally)}")
    if not parts.get(layout.PAIRED) and tally.captions:
        raise DataError(f"{target.what}: no caption belongs to a usable image; {report.reasons(tally)}")


def write(plan: ShardPlan, target: Target, tally: Tally, about: Origin, overwrite: bool, engine: Engine) -> Manifest:
    """Write what is not there yet.

    Args:
        plan: the shard plan of the target.
        target: the set.
        tally: what was read and left out before the plan.
        about: where the set comes from, for the manifest.
        overwrite: whether shards that another plan wrote there are replaced.
        engine: reads, encodes and hashes images.

    Returns:
        The manifest, which is written last but for the dataset card, which tells of it.
    """
    folders = [layout.TEST] if target.name else [layout.shard_folder(kind) for kind in layout.TRAINING]
    manifest = prepare(plan, folders, overwrite)
    if manifest is None:
        shards = write_all(plan, engine)
        if plan.index.recoded() and (not target.name or target.subset == layout.VAL):
            kind, training = (layout.CLASSES, plan.root.parent) if target.name else (layout.VAL, plan.root)
            shards |= leave_out_trained(plan, kind, training, engine)
        if engine.remote:
            remove_aside(plan, folders)
        _write_benchmark_files(plan, target)
        manifest = finish(plan, shards, _counts(plan, shards, tally), about)
    write_card(plan, manifest)
    return manifest


def _write_benchmark_files(plan: ShardPlan, target: Target) -> None:
    shards = plan.shards(layout.VAL) + plan.shards(layout.CLASSES)  # of one of them
    if target.name:
        layout.write_benchmark_files(plan.root, CLASSIFICATION, shards, plan.classes, target.templates)
    elif shards:
        layout.write_benchmark_files(plan.root / layout.VAL, RETRIEVAL, shards, plan.classes, target.templates)


def _counts(plan: ShardPlan, shards: Mapping[str, ShardStatistics], tally: Tally) -> Counts:
    """The counts of the manifest, from the statistics of the shards."""
    images: Counter[str] = Counter()
    captions: Counter[str] = Counter()
    recoded: Counter[str] = Counter()
    skipped_images, skipped_captions = tally.skipped_images.copy(), tally.skipped_captions.copy()
    for job in plan.jobs:
        done = shards[job.name]
        images[job.kind] += done["samples"]
        captions[job.kind] += done["captions"]
        recoded.update(done["recoded"])
        skipped_images.update(done["skipped"])
        skipped_captions[WITH_IMAGE] += done["skipped_captions"]
    return _table(tally, (images, skipped_images), (captions, skipped_captions), recoded)


def planned(plan: ShardPlan, tally: Tally) -> Counts:
    """The counts that the manifest will have if every image that is to be re-encoded decodes."""
    captions = Counter(plan.index.captions_by_part())
    return _table(
        tally,
        (Counter(plan.sizes), tally.skipped_images),
        (captions, tally.skipped_captions),
        Counter(plan.index.recoded()),
    )


def _table(
    tally: Tally,
    images: tuple[Counter[str], Counter[str]],
    captions: tuple[Counter[str], Counter[str]],
    recoded: Counter[str],
) -> Counts:
    """The counts as the manifest has them; `images` and `captions` are what was written and what was skipped."""
    if layout.CLASSES in images[0]:
        captions = (Counter(), Counter({NO_SET: tally.captions}))
    return {
        "images": {"read": tally.images, "written": dict(images[0]), "skipped": _tidy(images[1])},
        "captions": {"read": tally.captions, "written": dict(+captions[0]), "skipped": _tidy(captions[1])},
        "recoded": _tidy(recoded),
        "notes": _tidy(tally.notes),
    }


def _tidy(counts: Counter[str]) -> dict[str, int]:
    """The counts that are not zero, sorted by reason."""
    return dict(sorted((reason, count) for reason, count in counts.items() if count))
