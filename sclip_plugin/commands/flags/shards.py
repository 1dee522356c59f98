"""The flags that `sclip convert` and `sclip split` share: how samples are split, and how shards are written."""

import argparse
from dataclasses import dataclass
from typing import Final

from sclip_plugin.commands.flags.engine import add_engine_arguments, add_workers_argument, check_engine, seen
from sclip_plugin.commands.flags.numbers import check_positive
from sclip_plugin.errors import UsageError
from sclip_plugin.storage.location import Location
from sclip_plugin.storage.outputs import writable

VAL_RATIO: Final = 0.1  # ours
PAIRED_RATIO: Final = 1.0  # every caption is kept; fewer are for studies of scarcity
SEED: Final = 0


@dataclass(frozen=True)
class SplitFlags:
    """How samples are split.

    Attributes:
        val_ratio: share of the captioned images that is held out; None where the user gave none.
        paired_ratios: shares of the rest that keep their captions: one, or one for each set that is made.
        seed: of the splits and of the order in the shards.
    """

    val_ratio: float | None
    paired_ratios: tuple[float, ...]
    seed: int


@dataclass(frozen=True)
class ShardFlags:
    """How shards are written.

    Attributes:
        shards: how many of them paired and unpaired have each; None where the user did not say.
        shard_size: samples in each; None where the user did not say.
        overwrite: whether shards that were made with other options or input are replaced.
    """

    shards: int | None
    shard_size: int | None
    overwrite: bool


def add_split_arguments(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Add the ratios and the seed; with `several`, `--paired-ratio` takes one ratio or more."""
    add = parser.add_argument
    default = "val/ keeps its images" if several else f"the source's own split, else {VAL_RATIO}"
    add(
        "--val-ratio",
        type=float,
        metavar="R",
        help=f"share of the captioned images that is held out, taken first (default: {default})",
    )
    help_text = "share of the rest that keeps its captions (default: 1)"
    if several:
        add("--paired-ratio", type=float, metavar="R", nargs="+", help=help_text)
    else:
        add("--paired-ratio", type=float, metavar="R", help=help_text)
    add(
        "--seed",
        type=int,
        metavar="N",
        help="decides who is in which part, and the order in the shards (default: 0)",
    )


def add_shard_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how many shards there are, and how they are written."""
    add = parser.add_argument
    add(
        "--shards",
        type=int,
        metavar="N",
        help="number of shards of paired/ and of unpaired/; best a multiple of GPUs × workers",
    )
    add(
        "--shard-size",
        type=int,
        metavar="N",
        help="samples in a shard (default: 1000, but at least 4 shards if they fill)",
    )
    add_workers_argument(parser)
    add("--overwrite", action="store_true", help="replace shards that were made with other options or input")
    add_engine_arguments(parser)


def split_flags(args: argparse.Namespace) -> SplitFlags:
    """The values of `add_split_arguments`.

    Raises:
        UsageError: a ratio or the seed is out of its range.
    """
    given = PAIRED_RATIO if args.paired_ratio is None else args.paired_ratio
    flags = SplitFlags(
        args.val_ratio,
        tuple(given) if isinstance(given, list) else (given,),
        SEED if args.seed is None else args.seed,
    )
    if not -(2**63) <= flags.seed < 2**63:
        raise UsageError(f"--seed must fit into 64 bits, got a number of {flags.seed.bit_length()} bits")
    if flags.val_ratio is not None and not 0 <= flags.val_ratio < 1:
        raise UsageError(f"--val-ratio must be at least 0 and below 1, got {flags.val_ratio}")
    for ratio in flags.paired_ratios:
        if not 0 < ratio <= 1:
            raise UsageError(f"--paired-ratio must be above 0 and at most 1, got {ratio}")
    if len(set(flags.paired_ratios)) < len(flags.paired_ratios):
        raise UsageError(f"--paired-ratio: the same ratio twice in {' '.join(map(str, flags.paired_ratios))}")
    return flags


def shard_flags(args: argparse.Namespace) -> ShardFlags:
    """The values of `add_shard_arguments`.

    Raises:
        UsageError: a number is out of its range, a flag of engines has no meaning, or --shards and --shard-size are
            both given.
    """
    flags = ShardFlags(args.shards, args.shard_size, args.overwrite)
    check_engine(args)
    check_positive("--shards", flags.shards)
    check_positive("--shard-size", flags.shard_size)
    if flags.shards and flags.shard_size:
        raise UsageError("--shards and --shard-size exclude each other")
    return flags


def output_folder(args: argparse.Namespace) -> Location:
    """The folder that `--out` names, by path or URL.

    Raises:
        UsageError: it names none, or none that can be written to.
        DataError: nobody knows the store of the URL.
    """
    if not args.out:
        raise UsageError("--out must name a folder")
    return writable(seen(args, args.out), "--out")
