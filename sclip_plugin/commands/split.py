"""Shards -> shards with another share of pairs, without decoding images.

    sclip split shards/ --out shards-10/ --paired-ratio 0.1
    sclip split shards/ --out shares/ --paired-ratio 0.1 0.3 1.0

The same seed gives the same split as `sclip convert --paired-ratio`, and smaller shares are parts of larger ones.
With several ratios each gets a folder of its own, OUT/0.1 say. val/ keeps its images unless --val-ratio is given.
"""

import argparse
from dataclasses import dataclass

from sclip_plugin.commands.flags.engine import open_engine, seen
from sclip_plugin.commands.flags.shards import (
    ShardFlags,
    SplitFlags,
    add_shard_arguments,
    add_split_arguments,
    output_folder,
    shard_flags,
    split_flags,
)
from sclip_plugin.errors import UsageError
from sclip_plugin.shards import layout, report
from sclip_plugin.shards.conversion.build import Target
from sclip_plugin.shards.conversion.pipeline import resplit
from sclip_plugin.shards.conversion.split import Ratios
from sclip_plugin.storage.location import Location, location
from sclip_plugin.storage.urls import plain


@dataclass(frozen=True)
class Request:
    """What the user asks of `sclip split`.

    Attributes:
        source: folder that `sclip convert` wrote.
        out: folder for the new shards.
        split: how the samples are split.
        shards: how the shards are written.
    """

    source: str
    out: Location
    split: SplitFlags
    shards: ShardFlags

    def root(self, ratio: float) -> Location:
        """The folder of the set with this share of pairs."""
        return self.out if len(self.split.paired_ratios) == 1 else self.out / str(ratio)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sclip split`."""
    parser.add_argument("shards_in", metavar="SHARDS", help="folder that sclip convert wrote, by path or URL")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the new shards, by path or URL")
    add_split_arguments(parser, several=True)
    add_shard_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Split once for each ratio, and print what was written."""
    request = _request(args)
    with open_engine(args) as engine:
        for ratio in request.split.paired_ratios:
            target, ratios = _target(request, ratio), _ratios(request.split, ratio)
            manifest = resplit(request.source, target, ratios, engine, request.shards.overwrite)
            report.show(request.root(ratio), manifest, None)


def _request(args: argparse.Namespace) -> Request:
    """The arguments as values.

    Raises:
        UsageError: a number is out of its range, or a set would be written over the one that is read.
    """
    request = Request(
        args.shards_in and seen(args, plain(args.shards_in)), output_folder(args), split_flags(args), shard_flags(args)
    )
    if not request.source:
        raise UsageError("SHARDS must name a folder")
    for ratio in request.split.paired_ratios:
        if location(request.source).resolve() == request.root(ratio).resolve():
            raise UsageError("--out must be another folder than SHARDS")
    return request


def _ratios(flags: SplitFlags, paired: float) -> Ratios:
    if flags.val_ratio is None:
        return Ratios(0.0, paired, flags.seed, held_out=(layout.VAL,))
    return Ratios(flags.val_ratio, paired, flags.seed, held_out=None)


def _target(request: Request, paired: float) -> Target:
    shards = request.shards
    return Target(
        root=request.root(paired),
        what=request.source,
        templates=layout.val_templates(location(request.source)),
        shards=shards.shards,
        shard_size=shards.shard_size,
        options={  # what decides the bytes, as the manifest records it
            "seed": request.split.seed,
            "val_ratio": request.split.val_ratio,
            "paired_ratio": paired,
            "shards": shards.shards,
            "shard_size": shards.shard_size,
        },
    )
