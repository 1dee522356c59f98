"""Captions and images -> paired/, unpaired/ and val/ shards, or a classification set.

    sclip convert captions.csv --images photos/ --out shards/
    sclip convert captions.csv --images photos/ --out shards/ --as classification themes --subset val
    sclip convert scenes/ --out shards/ --as classification scenes --templates "an aerial photograph of {c}."

A CSV or TSV has one row per caption; an image may have several rows. Images without a caption become the unpaired set.
A folder as the source has no captions: its first level of folders are the classes.
"""

import os
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.shards import layout, report
from sclip_plugin.shards.images import ImageFault, Transform, inspect
from sclip_plugin.shards.plan import assign_keys, cut, shard_count, split
from sclip_plugin.shards.readers import FORMATS, make_reader
from sclip_plugin.shards.readers.base import Sample, Tally
from sclip_plugin.shards.readers.folder import FolderReader
from sclip_plugin.shards.writer import CHUNK, Job, Plan, finish, in_threads, prepare, write_all

TRAINING = (layout.PAIRED, layout.UNPAIRED, layout.VAL)
HIDDEN, WITH_IMAGE, GIVEN_TWICE = "hidden by --paired-ratio", "its image was skipped", "given twice"
COLUMNS = ("image", "caption", "label", "group")


def add_arguments(parser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="a CSV or TSV file, or a folder of images")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the shards")
    parser.add_argument("--images", metavar="DIR", help="folder of the images (default: that of the CSV file)")
    parser.add_argument(
        "--unpaired-images", action="append", default=[], metavar="DIR", help="more images without text"
    )
    parser.add_argument("--from", dest="form", choices=FORMATS, help="the source's format (default: recognised)")
    for role in COLUMNS:
        known = "none" if role == "group" else "recognised"
        parser.add_argument(f"--{role}-column", metavar="NAME", help=f"column of the {role} (default: {known})")
    parser.add_argument("--val-ratio", type=float, default=0.1, help="share of the captioned images held out, first")
    parser.add_argument("--paired-ratio", type=float, default=1.0, help="share of the rest that keeps its captions")
    parser.add_argument("--seed", type=int, default=0, help="of the splits and of the order in the shards")
    parser.add_argument("--shards", type=int, metavar="N", help="shards of paired/ and of unpaired/")
    parser.add_argument(
        "--shard-size",
        type=int,
        metavar="N",
        help="samples per shard (default: 1000, but at least 4 shards if they fill)",
    )
    parser.add_argument("--resize", type=int, metavar="PIXELS", help="shrink images whose shorter side is longer")
    parser.add_argument("--quality", type=int, metavar="Q", help="re-encode everything as JPEG of this quality")
    parser.add_argument("--check", action="store_true", help="decode every image, not only its header")
    parser.add_argument("--workers", type=int, default=min(8, os.cpu_count() or 1), help="threads; same bytes for any")
    parser.add_argument("--overwrite", action="store_true", help="replace shards made with other options or input")
    parser.add_argument(
        "--as", dest="kind", nargs=2, metavar=("classification", "NAME"), help="write OUT/NAME from labels instead"
    )
    parser.add_argument("--subset", choices=("all", *TRAINING), help="which images --as classification takes (all)")
    parser.add_argument(
        "--templates",
        action="append",
        metavar="TEXT",
        help=f'prompt with {{c}}, repeatable (default "{layout.DEFAULT_TEMPLATE}")',
    )


def run(args) -> None:
    name = _check(args)
    samples, tallies, sources = _read(args, captions=name is None)
    transform = Transform(args.resize, args.quality)
    tally = _merge(tallies)
    usable = _inspect_all(samples, transform, args, tally)
    assign_keys(usable)
    parts = split(usable, args.val_ratio, args.paired_ratio, args.seed, tally.skipped_images)
    build = _classification if name else _training
    plan, folders = build(args, parts, transform, tally)
    manifest = prepare(plan, folders, args.overwrite)
    if manifest is None:
        shards = write_all(plan, args.workers)
        _write_benchmark_files(args, plan)
        manifest = finish(plan, shards, _counts(plan, shards, parts, tally), sources)
    report.show(plan.root, manifest, name)


def _check(args) -> str | None:
    """Name of the classification set, None for training shards. Raises UsageError."""
    if not 0 <= args.val_ratio < 1:
        raise UsageError(f"--val-ratio must be at least 0 and below 1, got {args.val_ratio}")
    if not 0 < args.paired_ratio <= 1:
        raise UsageError(f"--paired-ratio must be above 0 and at most 1, got {args.paired_ratio}")
    for flag in ("shards", "shard_size", "resize", "workers"):
        if getattr(args, flag) is not None and getattr(args, flag) < 1:
            raise UsageError(f"--{flag.replace('_', '-')} must be at least 1, got {getattr(args, flag)}")
    if args.quality is not None and not 1 <= args.quality <= 100:
        raise UsageError(f"--quality must be from 1 to 100, got {args.quality}")
    if args.shards and args.shard_size:
        raise UsageError("--shards and --shard-size exclude each other")
    return _check_kind(args)


def _check_kind(args) -> str | None:
    if args.kind is None:
        for flag in ("subset", "templates"):
            if getattr(args, flag):
                raise UsageError(f"--{flag} needs --as classification NAME")
        return None
    if args.kind[0] != "classification":
        raise UsageError(f"--as: the only kind is classification, got {args.kind[0]!r}")
    name = args.kind[1]
    if name in TRAINING or name.startswith(".") or os.path.basename(name) != name:
        raise UsageError(f"--as classification: {name!r} is not a name for a folder of its own")
    for template in args.templates or []:
        if "{c}" not in template or "\n" in template:
            raise UsageError(f"--templates: {template!r} must be one line that holds {{c}}")
    return name


def _read(args, captions: bool) -> tuple[list[Sample], list[Tally], list[dict]]:
    """Samples of the source and of --unpaired-images, each file once."""
    columns = {role: name for role in COLUMNS if (name := getattr(args, f"{role}_column"))}
    readers = [make_reader(args.source, args.images, columns, args.form, captions)]
    names = Counter()
    for folder in args.unpaired_images:
        name = os.path.basename(os.path.realpath(folder))
        names[name] += 1
        prefix = f"{name}/" if names[name] == 1 else f"{name}-{names[name]}/"
        readers.append(FolderReader(folder, "--unpaired-images", classes=False, prefix=prefix))
    samples, seen = [], set()
    for reader in readers:
        for sample in tqdm(reader.samples(), desc="reading", unit="image", disable=None):
            if sample.image.path in seen:
                reader.tally.skipped_images[GIVEN_TWICE] += 1
                continue
            seen.add(sample.image.path)
            samples.append(sample)
    return samples, [reader.tally for reader in readers], [reader.describe() for reader in readers]


def _merge(tallies: list[Tally]) -> Tally:
    total = Tally()
    for one in tallies:
        total.images += one.images
        total.captions += one.captions
        total.skipped_images += one.skipped_images
        total.skipped_captions += one.skipped_captions
        total.notes += one.notes
    return total


def _inspect_all(samples: list[Sample], transform: Transform, args, tally: Tally) -> list[Sample]:
    """The samples whose images can be used; the others are counted in `tally`."""
    bar = tqdm(total=len(samples), desc="inspecting", unit="image", disable=None)

    def some(first: int) -> list[str]:
        faults = [_inspect(sample, transform, args.check) for sample in samples[first : first + CHUNK]]
        bar.update(len(faults))
        return faults

    with bar:
        faults = [fault for part in in_threads(some, range(0, len(samples), CHUNK), args.workers) for fault in part]
    for sample, fault in zip(samples, faults):
        if fault:
            tally.skipped_images[fault] += 1
            tally.skipped_captions[WITH_IMAGE] += len(sample.captions)
    return [sample for sample, fault in zip(samples, faults) if not fault]


def _inspect(sample: Sample, transform: Transform, check: bool) -> str:
    """Why the image cannot be used, "" if it can; fills in suffix and recode."""
    try:
        verdict = inspect(sample.image, transform, check)
    except ImageFault as fault:
        return str(fault)
    except OSError as error:
        return f"unreadable file ({error.strerror or error})"
    sample.suffix, sample.recode = verdict.suffix, verdict.recode
    return ""


def _options(args, *names: str) -> dict:
    """The options that decide the bytes, as the manifest records them."""
    always = ("seed", "val_ratio", "paired_ratio", "group_column", "shards", "shard_size", "resize", "quality")
    return {name: getattr(args, name) for name in (*always, *names)}


def _training(args, parts: dict[str, list[Sample]], transform: Transform, tally: Tally) -> tuple[Plan, list[str]]:
    if not any(parts.values()):
        raise DataError(f"{args.source}: no usable image; {report.reasons(tally)}")
    if not parts[layout.PAIRED] and tally.captions:
        raise DataError(f"{args.source}: no caption belongs to a usable image; {report.reasons(tally)}")
    tally.skipped_captions[HIDDEN] += sum(len(sample.captions) for sample in parts[layout.UNPAIRED])
    for sample in parts[layout.UNPAIRED]:
        sample.captions = []
    jobs = []
    for kind in TRAINING:
        shards = None if kind == layout.VAL else args.shards
        jobs += _jobs(parts[kind], kind, shard_count(len(parts[kind]), shards, args.shard_size))
    classes = sorted({sample.label for sample in parts[layout.VAL] if sample.label})
    plan = Plan(Path(args.out), jobs, transform, _options(args), classes)
    return plan, [layout.shard_folder(kind) for kind in TRAINING]


def _jobs(samples: list[Sample], kind: str, shards: int) -> list[Job]:
    folder = layout.shard_folder(kind)
    return [
        Job(f"{folder}/{layout.shard_name(kind, number)}", kind, part)
        for number, part in enumerate(cut(samples, shards))
    ]


def _classification(args, parts: dict[str, list[Sample]], transform: Transform, tally: Tally) -> tuple[Plan, list[str]]:
    subset = args.subset or "all"
    taken = []
    for kind, part in parts.items():
        for sample in part:
            if subset not in ("all", kind):
                tally.skipped_images[f"not in --subset {subset}"] += 1
            elif sample.label is None:
                tally.skipped_images["no label"] += 1
            else:
                taken.append(sample)
    if not taken:
        raise DataError(f"{args.source}: no image with a label; {report.reasons(tally)}")
    for sample in taken:
        sample.captions = []
    classes = sorted({sample.label for sample in taken})
    options = _options(args, "subset", "label_column", "templates")
    jobs = _jobs(taken, "classes", shard_count(len(taken), args.shards, args.shard_size))
    return Plan(Path(args.out) / args.kind[1], jobs, transform, options, classes), [layout.TEST]


def _write_benchmark_files(args, plan: Plan) -> None:
    templates = args.templates or [layout.DEFAULT_TEMPLATE]
    held = sum(job.kind not in (layout.PAIRED, layout.UNPAIRED) for job in plan.jobs)
    if args.kind:
        layout.write_benchmark_files(plan.root, layout.CLASSIFICATION, held, plan.classes, templates)
    elif held:
        layout.write_benchmark_files(plan.root / layout.VAL, layout.RETRIEVAL, held, plan.classes, templates)


def _counts(plan: Plan, shards: dict[str, dict], parts: dict, tally: Tally) -> dict:
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
    counts = {
        "images": {"read": tally.images, "written": dict(images), "skipped": _tidy(skipped_images)},
        "captions": {"read": tally.captions, "written": dict(+captions), "skipped": _tidy(skipped_captions)},
        "recoded": _tidy(recoded),
        "notes": _tidy(tally.notes),
    }
    if "classes" in images:
        counts["captions"]["skipped"] = _tidy(Counter({"not part of a classification set": tally.captions}))
    return counts


def _tidy(counts: Counter) -> dict[str, int]:
    return dict(sorted((reason, count) for reason, count in counts.items() if count))
