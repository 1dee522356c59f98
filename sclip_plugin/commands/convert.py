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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from sclip_plugin.commands.flags.engine import open_engine, seen
from sclip_plugin.commands.flags.numbers import check_positive
from sclip_plugin.commands.flags.shards import (
    VAL_RATIO,
    SplitFlags,
    add_shard_arguments,
    add_split_arguments,
    output_folder,
    shard_flags,
    split_flags,
)
from sclip_plugin.errors import UsageError
from sclip_plugin.evaluation.names import CLASSIFICATION
from sclip_plugin.shards import layout, report
from sclip_plugin.shards.conversion.build import Target
from sclip_plugin.shards.conversion.pipeline import Conversion, convert, try_out
from sclip_plugin.shards.conversion.recorded_split import recorded_split
from sclip_plugin.shards.conversion.sources import SourceSelection
from sclip_plugin.shards.conversion.split import HELD_OUT, Ratios
from sclip_plugin.shards.images import Transform
from sclip_plugin.shards.readers import FORMATS
from sclip_plugin.shards.readers.base import split_name
from sclip_plugin.shards.readers.columns import ROLES
from sclip_plugin.shards.recipes import recipe as recipes
from sclip_plugin.shards.recipes.recipe import Recipe
from sclip_plugin.storage.location import Location
from sclip_plugin.storage.urls import plain

# the arguments that decide the bytes, in the order in which the manifest records them
RECORDED: Final[Sequence[str]] = (
    *("seed", "val_ratio", "val_split", "paired_ratio", "recipe", "shards", "shard_size", "resize", "quality"),
    *(f"{role}_column" for role in ROLES),
    *("kind", "subset", "templates"),
)


class _ListRecipes(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(recipes.listing())
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sclip convert`."""
    _add_source_arguments(parser)
    add_split_arguments(parser)
    add = parser.add_argument
    add(
        "--val-split",
        metavar="NAMES",
        help="which of the source's own splits are held out, comma-separated (default: the recipe's, else "
        f"{','.join(HELD_OUT)}); its other splits but train are left out",
    )
    add_shard_arguments(parser)
    add("--resize", type=int, metavar="PIXELS", help="shrink images whose shorter side is longer than this")
    add("--quality", type=int, metavar="Q", help="re-encode every image as a JPEG of this quality")
    add("--check", action="store_true", help="decode every image, and do not only read its header")
    add("--dry-run", action="store_true", help="write no shards, but counts, and OUT-preview.png with a few samples")
    add("--as", dest="kind", nargs=2, metavar=(CLASSIFICATION, "NAME"), help="write OUT/NAME from labels instead")
    add(
        "--subset",
        choices=("all", *layout.TRAINING),
        help="which images --as classification takes (default: all); a part is that of the training set in --out, "
        "whose split flags need not be given again",
    )
    add(
        "--templates",
        action="append",
        metavar="TEXT",
        help=f'prompt with {{c}}, repeatable (default: the recipe\'s, else "{layout.DEFAULT_TEMPLATE}")',
    )


def _add_source_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", nargs="+", metavar="SOURCE", help="file or folder, by path or URL; several become one set")
    add("--out", required=True, metavar="DIR", help="folder for the shards, by path or URL")
    add("--images", metavar="DIR", help="folder of the images (default: where the captions are)")
    add("--unpaired-images", action="append", default=[], metavar="DIR", help="more images without text; repeatable")
    add("--from", dest="form", choices=FORMATS, help="the source's format (default: it is recognised)")
    add("--recipe", action="append", default=[], metavar="NAME", help="a published data set, one for each SOURCE")
    add("--list", action=_ListRecipes, nargs=0, help="list the recipes and exit")
    for role in ROLES:
        known = "recognised" if ROLES[role] else "none"
        add(f"--{role}-column", metavar="NAME", help=f"column of the {role} (default: {known})")


def run(args: argparse.Namespace) -> None:
    """Convert, and print what was written and what to do with it; or only show what would be written."""
    conversion = _conversion(_with_split_of_output(args))
    root = conversion.target.root
    with open_engine(args) as engine:
        conversion = replace(conversion, engine=engine)
        if args.dry_run:
            try_out(conversion, _preview(root))
            return
        manifest = convert(conversion)
    report.show(root, manifest, conversion.target.name)


def _preview(root: Location) -> Path:
    """Where the picture of a dry run is drawn: beside the output folder, or here where that is in a store."""
    return Path(f"{os.path.normpath(root) if isinstance(root, Path) else root.name}-preview.png")


def _conversion(args: argparse.Namespace) -> Conversion:
    """The arguments as values.

    Raises:
        UsageError: a number is out of its range, or flags do not go together.
    """
    wanted = recipes.chosen(args.recipe)
    split, shards = split_flags(args), shard_flags(args)
    transform = _transform(args)
    out, name = output_folder(args), _classification_name(args, wanted)
    recipe = wanted[0] if wanted else None
    subset = _subset(args, wanted) if name else None
    decided = {"seed": split.seed, "paired_ratio": split.paired_ratios[0], "subset": subset}
    target = Target(
        root=out / name if name else out,
        what=", ".join(args.source),
        name=name,
        subset=subset or "all",
        templates=tuple(args.templates or (recipe and recipe.templates) or (layout.DEFAULT_TEMPLATE,)),
        shards=shards.shards,
        shard_size=shards.shard_size,
        options={key: decided.get(key, getattr(args, key)) for key in RECORDED},
    )
    return Conversion(
        _selection(args, wanted),
        target,
        _ratios(args.val_split, split, wanted),
        transform,
        args.check,
        overwrite=shards.overwrite,
    )


def _subset(args: argparse.Namespace, wanted: list[Recipe]) -> str:
    """The part whose images a classification set takes, or "all"."""
    return args.subset or (wanted[0].subset if wanted else "all")


def _with_split_of_output(args: argparse.Namespace) -> argparse.Namespace:
    """The arguments, for a classification set of one part with the split of the training set in the output folder.

    Raises:
        UsageError: the user wants another split than the training set has.
        DataError: the conversion of the training set has not ended, or its manifest is damaged.
    """
    wanted = recipes.chosen(args.recipe)
    if not _classification_name(args, wanted) or _subset(args, wanted) == "all":
        return args
    out = output_folder(args)
    recorded = recorded_split(out, _selection(args, wanted))
    if recorded is None:
        return args
    differing = [name for name, value in recorded.items() if getattr(args, name) not in (None, value)]
    if differing:
        given = ", ".join(f"{_flag(name)} {getattr(args, name)}" for name in differing)
        has = ", ".join(
            f"no {_flag(name)}" if recorded[name] is None else f"{_flag(name)} {recorded[name]}" for name in differing
        )
        raise UsageError(f"{given}: {out / layout.MANIFEST} has {has}; leave these flags out, or take another --out")
    return argparse.Namespace(**{**vars(args), **recorded})


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _transform(args: argparse.Namespace) -> Transform:
    check_positive("--resize", args.resize)
    if args.quality is not None and not 1 <= args.quality <= 100:
        raise UsageError(f"--quality must be from 1 to 100, got {args.quality}")
    return Transform(args.resize, args.quality)


def _selection(args: argparse.Namespace, wanted: list[Recipe]) -> SourceSelection:
    """The sources.

    Raises:
        UsageError: an empty word stands where a file or folder is meant.
    """
    for flag, paths in (
        ("SOURCE", args.source),
        ("--images", [args.images]),
        ("--unpaired-images", args.unpaired_images),
    ):
        if "" in paths:
            raise UsageError(f"{flag} must name a file or folder")
    return SourceSelection(
        paths=tuple(seen(args, plain(path)) for path in args.source),
        recipes=tuple(wanted),
        images=args.images and seen(args, plain(args.images)),
        columns={role: name for role in ROLES if (name := getattr(args, f"{role}_column"))},
        form=args.form,
        unpaired_images=tuple(seen(args, plain(path)) for path in args.unpaired_images),
    )


def _ratios(val_split: str | None, flags: SplitFlags, wanted: list[Recipe]) -> Ratios:
    """How the samples are split: by a ratio that the user gives, else as the source, or its recipe, says.

    Raises:
        UsageError: the user wants both a ratio and a split of the source, or names no split.
    """
    (paired,) = flags.paired_ratios
    if flags.val_ratio is not None:
        if val_split is not None:
            raise UsageError("--val-split and --val-ratio exclude each other: the source's own split, or one by ratio")
        return Ratios(flags.val_ratio, paired, flags.seed, held_out=None)
    held_out = tuple({name for recipe in wanted for name in recipe.held_out}) or HELD_OUT
    if val_split is not None:
        held_out = tuple(name for text in val_split.split(",") if (name := split_name(text)))
        if not held_out:
            raise UsageError(f"--val-split: {val_split!r} names no split")
    return Ratios(VAL_RATIO, paired, flags.seed, held_out)


def _classification_name(args: argparse.Namespace, wanted: list[Recipe]) -> str | None:
    """The name of the classification set that is to be made, None where a training set is.

    Raises:
        UsageError: the name is not one of a folder, or flags do not go together.
    """
    sets = [recipe.name for recipe in wanted if recipe.kind == CLASSIFICATION]
    if args.kind is None and not sets:
        for flag in ("subset", "templates"):
            if getattr(args, flag):
                raise UsageError(f"--{flag} needs --as classification NAME")
        return None
    if args.kind is None and len(wanted) > 1:
        raise UsageError(f"--recipe {sets[0]} makes a classification set of its own; convert it alone")
    if args.kind and args.kind[0] != CLASSIFICATION:
        raise UsageError(f"--as: the only kind is classification, got {args.kind[0]!r}")
    name = args.kind[1] if args.kind else sets[0]
    if not _is_line(name) or name in layout.TRAINING or name.startswith(".") or os.path.basename(name) != name:
        raise UsageError(f"--as classification: {name!r} is not a name for a folder of its own")
    for template in args.templates or []:
        if "{c}" not in template or not _is_line(template):
            raise UsageError(f"--templates: {template!r} must be one line that holds {{c}}")
    return name


def _is_line(text: str) -> bool:
    """Whether a text is one line, not empty, that UTF-8 can encode."""
    return text.splitlines() == [text] and text.encode("utf-8", "ignore").decode() == text and "\0" not in text
