"""Captions and images -> paired/, unpaired/ and val/ shards, or a classification set.

    sclip convert captions.csv --images photos/ --out shards/
    sclip convert captions.csv --images photos/ --out shards/ --dry-run
    sclip convert captions.csv --images photos/ --out shards/ --as classification themes --subset val
    sclip convert --recipe rsicd RSICD/ --recipe ucm-captions UCM/ --out shards/
    sclip convert --list

A source is a table (CSV, TSV, JSON Lines, parquet) with one row per caption, a JSON of captions (Karpathy's, COCO's), a
folder of images (its first level of folders are classes), a Hugging Face data set, tars of samples, or a published data
set with a recipe. Images without a caption become the unpaired set.
"""

import argparse
import os
from pathlib import Path

from sclip_plugin.errors import UsageError
from sclip_plugin.shards import layout, report
from sclip_plugin.shards.conversion.build import Target, build, write
from sclip_plugin.shards.conversion.examine import examine, find_equal, skipped_captions
from sclip_plugin.shards.conversion.preview import preview
from sclip_plugin.shards.conversion.sources import open_sources, read
from sclip_plugin.shards.conversion.split import HELD_OUT, Ratios, assign_keys, split
from sclip_plugin.shards.conversion.workspace import workspace
from sclip_plugin.shards.images import Transform
from sclip_plugin.shards.readers import FORMATS
from sclip_plugin.shards.readers.base import split_name
from sclip_plugin.shards.readers.columns import ROLES
from sclip_plugin.shards.recipes import recipe as recipes

VAL_RATIO, PAIRED_RATIO = 0.1, 1.0
IGNORED_SPLIT = "the source's own split does not count: --val-ratio was given"


class _ListRecipes(argparse.Action):
    def __call__(self, parser, *_):
        print(recipes.listing())
        parser.exit()


def add_arguments(parser) -> None:
    """Arguments of `sclip convert`."""
    add = parser.add_argument
    add("source", nargs="+", metavar="SOURCE", help="file or folder; several become one set")
    add("--out", required=True, metavar="DIR", help="folder for the shards")
    add("--images", metavar="DIR", help="folder of the images (default: where the captions are)")
    add("--unpaired-images", action="append", default=[], metavar="DIR", help="more images without text; repeatable")
    add("--from", dest="form", choices=FORMATS, help="the source's format (default: recognised)")
    add("--recipe", action="append", default=[], metavar="NAME", help="a published data set, one for each SOURCE")
    add("--list", action=_ListRecipes, nargs=0, help="list the recipes and exit")
    for role in ROLES:
        known = "recognised" if ROLES[role] else "none"
        add(f"--{role}-column", metavar="NAME", help=f"column of the {role} (default: {known})")
    add_split_arguments(parser)
    add(
        "--val-split",
        metavar="NAMES",
        help="which of the source's own splits are held out, comma-separated (default: the recipe's, else "
        f"{','.join(HELD_OUT)}); its other splits but train are left out",
    )
    add_shard_arguments(parser)
    add("--resize", type=int, metavar="PIXELS", help="shrink images whose shorter side is longer")
    add("--quality", type=int, metavar="Q", help="re-encode everything as JPEG of this quality")
    add("--check", action="store_true", help="decode every image, not only its header")
    add("--dry-run", action="store_true", help="write no shards: counts, and OUT-preview.png with a few samples")
    add("--as", dest="kind", nargs=2, metavar=("classification", "NAME"), help="write OUT/NAME from labels instead")
    add("--subset", choices=("all", *layout.TRAINING), help="which images --as classification takes (default: all)")
    add(
        "--templates",
        action="append",
        metavar="TEXT",
        help=f'prompt with {{c}}, repeatable (default: the recipe\'s, else "{layout.DEFAULT_TEMPLATE}")',
    )


def add_split_arguments(parser, several: bool = False) -> None:
    """The ratios (--paired-ratio may be several) and the seed."""
    add = parser.add_argument
    default = "val/ keeps its images" if several else f"the source's own split, else {VAL_RATIO}"
    add(
        "--val-ratio",
        type=float,
        metavar="R",
        help=f"share of the captioned images held out, first (default: {default})",
    )
    ratios = {"nargs": "+", "default": [PAIRED_RATIO]} if several else {"default": PAIRED_RATIO}
    add(
        "--paired-ratio",
        type=float,
        metavar="R",
        help="share of the rest that keeps its captions (default: 1)",
        **ratios,
    )
    add("--seed", type=int, default=0, metavar="N", help="of the splits and of the order in the shards (default: 0)")


def add_shard_arguments(parser) -> None:
    """How many shards, and who writes them."""
    add = parser.add_argument
    add("--shards", type=int, metavar="N", help="shards of paired/ and of unpaired/; best a multiple of GPUs × workers")
    add(
        "--shard-size",
        type=int,
        metavar="N",
        help="samples per shard (default: 1000, but at least 4 shards if they fill)",
    )
    add("--workers", type=int, default=min(8, os.cpu_count() or 1), metavar="N", help="threads; same bytes for any")
    add("--overwrite", action="store_true", help="replace shards made with other options or input")


def run(args) -> None:
    """Read, inspect, split, write; prints what was written and what to do with it."""
    wanted = recipes.chosen(args.recipe)
    target = _target(args, wanted)
    transform = Transform(args.resize, args.quality)
    with workspace(target.root) as (index, spool):
        sources = open_sources(args, wanted, captions=target.name is None, spool=spool)
        tally = read(sources, index)
        examine(index, transform, args.check, args.workers, tally)
        equal = find_equal(index, args.workers, tally)
        assign_keys(index)
        if args.val_ratio is not None and index.one("SELECT 1 FROM samples WHERE split IS NOT NULL"):
            tally.notes[IGNORED_SPLIT] += 1
        split(index, _ratios(args, wanted), tally.skipped_images)
        plan = build(target, index, transform, tally)
        skipped_captions(index, tally)
        if args.dry_run:
            preview(plan, tally, equal, f"{os.path.normpath(target.root)}-preview.png")
            return
        described = [source.reader.describe() for source in sources]
        manifest = write(
            plan, target, tally, {"source": described, "equal_images": equal}, args.overwrite, args.workers
        )
    report.show(target.root, manifest, target.name)


def _ratios(args, wanted: list[recipes.Recipe]) -> Ratios:
    held = tuple({name for recipe in wanted for name in recipe.held_out}) or HELD_OUT
    if args.val_split:
        held = tuple(split_name(name) for name in args.val_split.split(",") if split_name(name))
    if args.val_ratio is not None:
        return Ratios(args.val_ratio, args.paired_ratio, args.seed, None)
    return Ratios(VAL_RATIO, args.paired_ratio, args.seed, held)


def check_numbers(args) -> None:
    """Refuse numbers out of range. Raises UsageError."""
    if args.val_ratio is not None and not 0 <= args.val_ratio < 1:
        raise UsageError(f"--val-ratio must be at least 0 and below 1, got {args.val_ratio}")
    for flag in ("shards", "shard_size", "resize", "workers"):
        if getattr(args, flag, None) is not None and getattr(args, flag) < 1:
            raise UsageError(f"--{flag.replace('_', '-')} must be at least 1, got {getattr(args, flag)}")
    if args.shards and args.shard_size:
        raise UsageError("--shards and --shard-size exclude each other")


def check_paired_ratio(ratio: float) -> None:
    """Raises UsageError."""
    if not 0 < ratio <= 1:
        raise UsageError(f"--paired-ratio must be above 0 and at most 1, got {ratio}")


def _target(args, wanted: list[recipes.Recipe]) -> Target:
    """Where to, as what, under which options. Raises UsageError."""
    check_numbers(args)
    check_paired_ratio(args.paired_ratio)
    if args.quality is not None and not 1 <= args.quality <= 100:
        raise UsageError(f"--quality must be from 1 to 100, got {args.quality}")
    if args.val_split and args.val_ratio is not None:
        raise UsageError("--val-split and --val-ratio exclude each other: the source's own split, or one by ratio")
    name = _classification_name(args, wanted)
    recipe = wanted[0] if wanted else None
    templates = args.templates or (list(recipe.templates) if recipe else []) or [layout.DEFAULT_TEMPLATE]
    return Target(
        root=Path(args.out) / name if name else Path(args.out),
        name=name,
        subset=args.subset or (recipe.subset if recipe and name else "all"),
        templates=templates,
        shards=args.shards,
        shard_size=args.shard_size,
        seed=args.seed,
        options={key: getattr(args, key) for key in RECORDED},
        what=", ".join(args.source),
    )


# what decides the bytes, as the manifest records it
RECORDED = ("seed", "val_ratio", "val_split", "paired_ratio", "recipe", "shards", "shard_size", "resize", "quality")
RECORDED += (*(f"{role}_column" for role in ROLES), "kind", "subset", "templates")


def _classification_name(args, wanted: list[recipes.Recipe]) -> str | None:
    sets = [recipe.name for recipe in wanted if recipe.kind == recipes.CLASSIFICATION]
    if args.kind is None and not sets:
        for flag in ("subset", "templates"):
            if getattr(args, flag):
                raise UsageError(f"--{flag} needs --as classification NAME")
        return None
    if args.kind is None and len(wanted) > 1:
        raise UsageError(f"--recipe {sets[0]} makes a classification set of its own; convert it alone")
    if args.kind and args.kind[0] != "classification":
        raise UsageError(f"--as: the only kind is classification, got {args.kind[0]!r}")
    name = args.kind[1] if args.kind else sets[0]
    if name in layout.TRAINING or name.startswith(".") or os.path.basename(name) != name:
        raise UsageError(f"--as classification: {name!r} is not a name for a folder of its own")
    for template in args.templates or []:
        if "{c}" not in template or "\n" in template:
            raise UsageError(f"--templates: {template!r} must be one line that holds {{c}}")
    return name
