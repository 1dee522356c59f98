"""Shards -> shards with another share of pairs, without decoding images.

    sclip split shards/ --out shards-10/ --paired-ratio 0.1
    sclip split shards/ --out shares/ --paired-ratio 0.1 0.3 1.0

The same seed gives the same split as `sclip convert --paired-ratio`, and smaller shares are parts of larger ones.
With several ratios each gets a folder of its own, OUT/0.1 say. val/ keeps its images unless --val-ratio is given.
"""

from pathlib import Path

from sclip_plugin.commands.convert import add_shard_arguments, add_split_arguments, check_numbers, check_paired_ratio
from sclip_plugin.errors import UsageError
from sclip_plugin.shards import layout, report
from sclip_plugin.shards.conversion.build import HIDDEN, Target, build, write
from sclip_plugin.shards.conversion.examine import find_equal, fingerprint, skipped_captions
from sclip_plugin.shards.conversion.sources import Source, read
from sclip_plugin.shards.conversion.split import Ratios, assign_keys, split
from sclip_plugin.shards.conversion.workspace import workspace
from sclip_plugin.shards.images import Transform
from sclip_plugin.shards.readers.shards import ShardsReader

STAYED_HIDDEN = "caption hidden when the source was made; it cannot come back"


def add_arguments(parser) -> None:
    """Arguments of `sclip split`."""
    parser.add_argument("shards_in", metavar="SHARDS", help="folder that sclip convert wrote")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the new shards")
    add_split_arguments(parser, several=True)
    add_shard_arguments(parser)


def run(args) -> None:
    """Split once for each ratio; prints what was written."""
    check_numbers(args)
    ratios = args.paired_ratio
    for ratio in ratios:
        check_paired_ratio(ratio)
    if len(set(ratios)) < len(ratios):
        raise UsageError(f"--paired-ratio: the same ratio twice in {' '.join(map(str, ratios))}")
    for ratio in ratios:
        root = Path(args.out) if len(ratios) == 1 else Path(args.out) / str(ratio)
        if Path(args.shards_in).resolve() == root.resolve():
            raise UsageError("--out must be another folder than SHARDS")
        _split_once(args, root, ratio)


def _split_once(args, root: Path, ratio: float) -> None:
    reader = ShardsReader(args.shards_in)
    with workspace(root) as (index, _):
        tally = read([Source(reader, reader.describe()["name"])], index)
        hidden = reader.manifest.get("counts", {}).get("captions", {}).get("skipped", {}).get(HIDDEN, 0)
        tally.notes[STAYED_HIDDEN] += hidden
        fingerprint(index, args.workers)
        equal = find_equal(index, args.workers, tally)
        assign_keys(index)
        held = ("val",) if args.val_ratio is None else None
        split(index, Ratios(args.val_ratio or 0.0, ratio, args.seed, held), tally.skipped_images)
        target = _target(args, root, ratio)
        plan = build(target, index, Transform(), tally)
        skipped_captions(index, tally)
        about = {"made_by": "sclip split", "source": [reader.describe()], "equal_images": equal}
        manifest = write(plan, target, tally, about, args.overwrite, args.workers)
    report.show(root, manifest, None)


def _target(args, root: Path, ratio: float) -> Target:
    options = {"seed": args.seed, "val_ratio": args.val_ratio, "paired_ratio": ratio}
    options |= {"shards": args.shards, "shard_size": args.shard_size}
    templates = Path(args.shards_in) / layout.VAL / "zeroshot_classification_templates.txt"
    lines = templates.read_text(encoding="utf-8").splitlines() if templates.is_file() else [layout.DEFAULT_TEMPLATE]
    return Target(root, None, "all", lines, args.shards, args.shard_size, args.seed, options, args.shards_in)
