"""From a split index to shards on disk: the plan of a training set or of a classification set, and its manifest."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sclip_plugin.errors import DataError
from sclip_plugin.shards import layout, report
from sclip_plugin.shards.conversion.index import SampleIndex
from sclip_plugin.shards.conversion.split import WITH_IMAGE, cut, place, shard_count, take_labelled
from sclip_plugin.shards.conversion.writer import Job, Plan, finish, prepare, write_all
from sclip_plugin.shards.images import Transform
from sclip_plugin.shards.sample import Tally

HIDDEN, NO_SET = "hidden by --paired-ratio", "not part of a classification set"


@dataclass(frozen=True)
class Target:
    """What is to be made.

    root: folder of the training set or of the classification set. name: of the classification set, None for training
    shards. subset: the part that a classification set takes. shards, shard_size: as the user wants them. options: what
    decides the bytes, for the manifest. what: the sources in words, for messages.
    """

    root: Path
    name: str | None
    subset: str
    templates: list[str]
    shards: int | None
    shard_size: int | None
    seed: int
    options: dict
    what: str


def build(target: Target, index: SampleIndex, transform: Transform, tally: Tally) -> Plan:
    """Place the samples of a split index in shards.

    Raises:
        DataError: nothing is left to write, or no caption belongs to an image; says what was read and skipped.
    """
    classes = take_labelled(index, target.subset, tally.skipped_images) if target.name else []
    parts = place(index, target.seed)
    if target.name and not parts:
        raise DataError(f"{target.what}: no image with a label; {report.reasons(tally)}")
    if not target.name:
        _check_training(target, index, parts, tally)
        named = "SELECT DISTINCT label FROM samples WHERE part = ? AND label IS NOT NULL ORDER BY label"
        classes = [label for (label,) in index.db.execute(named, (layout.VAL,))]
    jobs = [job for kind in (*layout.TRAINING, layout.CLASSES) for job in _jobs(target, kind, parts.get(kind, 0))]
    return Plan(target.root, jobs, index, transform, target.options, classes)


def _check_training(target: Target, index: SampleIndex, parts: dict[str, int], tally: Tally) -> None:
    if not parts:
        raise DataError(f"{target.what}: no usable image; {report.reasons(tally)}")
    if not parts.get(layout.PAIRED) and tally.captions:
        raise DataError(f"{target.what}: no caption belongs to a usable image; {report.reasons(tally)}")
    unpaired = "SELECT id FROM samples WHERE part = 'unpaired' AND captioned"
    tally.skipped_captions[HIDDEN] += index.one(f"SELECT COUNT(*) FROM captions WHERE sample IN ({unpaired})")
    index.db.execute(f"DELETE FROM captions WHERE sample IN ({unpaired})")


def _jobs(target: Target, kind: str, samples: int) -> list[Job]:
    shards = None if kind == layout.VAL else target.shards
    folder = layout.shard_folder(kind)
    runs = cut(samples, shard_count(samples, shards, target.shard_size))
    return [
        Job(f"{folder}/{layout.shard_name(kind, number)}", kind, first, stop)
        for number, (first, stop) in enumerate(runs)
    ]


def write(plan: Plan, target: Target, tally: Tally, about: dict, overwrite: bool, workers: int) -> dict:
    """Write what is not there yet; returns the manifest, which comes last. about: more of what it records."""
    folders = [layout.TEST] if target.name else [layout.shard_folder(kind) for kind in layout.TRAINING]
    manifest = prepare(plan, folders, overwrite)
    if manifest is None:
        shards = write_all(plan, workers)
        _write_benchmark_files(plan, target)
        manifest = finish(plan, shards, _counts(plan, shards, tally), about)
    return manifest


def _write_benchmark_files(plan: Plan, target: Target) -> None:
    held = sum(job.kind in (layout.VAL, layout.CLASSES) for job in plan.jobs)
    if target.name:
        layout.write_benchmark_files(plan.root, layout.CLASSIFICATION, held, plan.classes, target.templates)
    elif held:
        layout.write_benchmark_files(plan.root / layout.VAL, layout.RETRIEVAL, held, plan.classes, target.templates)


def _counts(plan: Plan, shards: dict[str, dict], tally: Tally) -> dict:
    """The manifest's counts: read = the sum of written + the sum of skipped, for images and for captions."""
    images, captions, recoded = Counter(), Counter(), Counter()
    skipped_images, skipped_captions = tally.skipped_images.copy(), tally.skipped_captions.copy()
    for job in plan.jobs:
        done = shards[job.name]
        images[job.kind] += done["samples"]
        captions[job.kind] += done["captions"]
        recoded.update(done["recoded"])
        skipped_images.update(done["skipped"])
        skipped_captions[WITH_IMAGE] += done["skipped_captions"]
    return _table(tally, (images, skipped_images), (captions, skipped_captions), recoded)


def planned(plan: Plan, tally: Tally) -> dict:
    """The counts that the manifest will have, if every image that is to be re-encoded decodes."""
    db = plan.index.db
    images = Counter(
        {kind: max(job.stop for job in plan.jobs if job.kind == kind) for kind in {j.kind for j in plan.jobs}}
    )
    images = Counter({kind: images[kind] for kind in (*layout.TRAINING, layout.CLASSES) if kind in images})
    held = (
        "SELECT part, COUNT(*) FROM captions JOIN samples ON samples.id = sample WHERE part IS NOT NULL GROUP BY part"
    )
    recoded = "SELECT recode, COUNT(*) FROM samples WHERE part IS NOT NULL AND recode != '' GROUP BY recode"
    captions = Counter(dict(db.execute(held).fetchall()))
    recoded = Counter(dict(db.execute(recoded).fetchall()))
    return _table(tally, (images, tally.skipped_images), (captions, tally.skipped_captions), recoded)


def _table(tally: Tally, images: tuple[Counter, Counter], captions: tuple[Counter, Counter], recoded: Counter) -> dict:
    """images, captions: written and skipped."""
    if layout.CLASSES in images[0]:
        captions = (Counter(), Counter({NO_SET: tally.captions}))
    return {
        "images": {"read": tally.images, "written": dict(images[0]), "skipped": tidy(images[1])},
        "captions": {"read": tally.captions, "written": dict(+captions[0]), "skipped": tidy(captions[1])},
        "recoded": tidy(recoded),
        "notes": tidy(tally.notes),
    }


def tidy(counts: Counter) -> dict[str, int]:
    """Sorted, without zeros."""
    return dict(sorted((reason, count) for reason, count in counts.items() if count))
