"""The whole way of a conversion: sources, index, inspection, split, shard plan, shards.

`convert` is what `sclip convert` does, `try_out` its `--dry-run`, and `resplit` is `sclip split`. They take values and
return the manifest; nothing here knows of a command line.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sclip_plugin.shards.conversion.build import HIDDEN, Target, build, write
from sclip_plugin.shards.conversion.examine import examine, find_equal, fingerprint, leave_out_trained
from sclip_plugin.shards.conversion.index import SampleIndex
from sclip_plugin.shards.conversion.plan import ShardPlan
from sclip_plugin.shards.conversion.preview import preview
from sclip_plugin.shards.conversion.recorded_split import check_sets
from sclip_plugin.shards.conversion.sources import Source, SourceSelection, open_sources, read
from sclip_plugin.shards.conversion.split import SAME_BYTES, Ratios, assign_keys, split
from sclip_plugin.shards.conversion.workspace import SPOOL, workspace
from sclip_plugin.shards.conversion.writer import PROGRESS
from sclip_plugin.shards.engines.engine import Engine
from sclip_plugin.shards.engines.local import HERE
from sclip_plugin.shards.images import Transform
from sclip_plugin.shards.layout import VAL
from sclip_plugin.shards.manifest import Manifest, Origin
from sclip_plugin.shards.readers.shards import ShardsReader
from sclip_plugin.shards.sample import Tally
from sclip_plugin.storage.location import Location, RemotePath

IGNORED_SPLIT: Final = "the source's own split does not count: --val-ratio was given"
STAYED_HIDDEN: Final = "caption hidden when the source was made; it cannot come back"


@dataclass(frozen=True)
class Conversion:
    """A conversion of sources to shards.

    Attributes:
        selection: what is read.
        target: what is made.
        ratios: how the samples are split.
        transform: what is done to the images.
        check: whether every image is decoded before anything is written, and not only its header read.
        engine: does the work; the bytes are the same for any.
        overwrite: whether shards that were made with other options or input are replaced.
    """

    selection: SourceSelection
    target: Target
    ratios: Ratios
    transform: Transform = field(default_factory=Transform)
    check: bool = False
    engine: Engine = HERE
    overwrite: bool = False


@dataclass(frozen=True)
class _Planned:
    """A set of which every shard is planned and none is written."""

    plan: ShardPlan
    tally: Tally
    equal: list[list[str]]
    described: list[Mapping[str, object]]


def convert(conversion: Conversion) -> Manifest:
    """Read, inspect, split and write; returns the manifest.

    Raises:
        UsageError: options have no meaning for a source, or do not go together.
        DataError: a source cannot be read, nothing usable is in it, or the output folder holds something else.
    """
    with _planned(conversion) as made:
        return write(
            made.plan,
            conversion.target,
            made.tally,
            {"source": made.described, "equal_images": made.equal},
            conversion.overwrite,
            conversion.engine,
        )


def try_out(conversion: Conversion, sheet: Path) -> None:
    """Print what `convert` would write and skip, and draw a contact sheet; no shard is written. Raises what it does."""
    with _planned(conversion) as made:
        preview(made.plan, made.tally, made.equal, sheet)


@contextmanager
def _planned(conversion: Conversion) -> Iterator[_Planned]:
    target = conversion.target
    engine = conversion.engine
    with workspace(target.root) as (index, aside), _spool(target.root, aside, engine) as spool:
        engine.check([*_on_disk(target.root), *conversion.selection.places])
        sources = open_sources(conversion.selection, target.name is None, spool, engine)
        described: list[Mapping[str, object]] = [source.reader.describe() for source in sources]
        if target.name is None:
            check_sets(target.root, target.options, described)
        tally = read(sources, index)
        examine(index, conversion.transform, conversion.check, engine, tally)
        if conversion.ratios.held_out is None and index.has_splits():
            tally.notes[IGNORED_SPLIT] += 1
        plan, equal = _plan(index, target, conversion.ratios, conversion.transform, engine, tally)
        yield _Planned(plan, tally, equal, described)


def _on_disk(root: Location) -> list[str]:
    """The folder of the set, which is there by now; in a store there may be nothing yet."""
    return [] if isinstance(root, RemotePath) else [str(root)]


@contextmanager
def _spool(root: Location, aside: Path, engine: Engine) -> Iterator[Location]:
    """A folder for spooled images that is removed at the end: `aside`, or one that other machines see, too."""
    if not (engine.remote and isinstance(root, RemotePath)):
        yield aside
        return
    spool = root / PROGRESS / SPOOL
    try:
        yield spool
    finally:
        for folder in spool.iterdir():
            for one in folder.iterdir():
                one.unlink(missing_ok=True)


def _plan(
    index: SampleIndex, target: Target, ratios: Ratios, transform: Transform, engine: Engine, tally: Tally
) -> tuple[ShardPlan, list[list[str]]]:
    """The shard plan of an index whose images are known to be good or bad, and the names of images that are equal."""
    equal = find_equal(index, engine, tally)
    assign_keys(index)
    split(index, ratios, tally.skipped_images)
    if target.name and target.subset == VAL:
        tally.skipped_images[SAME_BYTES] += leave_out_trained(index, VAL, target.root.parent, engine)
    return build(target, index, transform, ratios.seed, tally), equal


def resplit(shards: str, target: Target, ratios: Ratios, engine: Engine = HERE, overwrite: bool = False) -> Manifest:
    """Write the samples of shards again, split in another way; images are copied and not decoded.

    Args:
        shards: folder that `convert` wrote.
        target: the training set that is made.
        ratios: how the samples are split. Those of val are in the split "val", the others in "train".
        engine: does the work; the bytes are the same for any.
        overwrite: whether shards that were made with other options or input are replaced.

    Returns:
        The manifest.

    Raises:
        DataError: the folder was not made by `convert`, or the output folder holds something else.
    """
    reader = ShardsReader(shards)
    described = reader.describe()
    with workspace(target.root) as (index, _):
        engine.check([shards, *_on_disk(target.root)])
        tally = read([Source(reader, str(described["name"]))], index)
        tally.notes[STAYED_HIDDEN] += _hidden(reader.manifest)
        fingerprint(index, engine)
        plan, equal = _plan(index, target, ratios, Transform(), engine, tally)
        about: Origin = {"made_by": "sclip split", "source": [described], "equal_images": equal}
        return write(plan, target, tally, about, overwrite, engine)


def _hidden(manifest: dict) -> int:
    """How many captions a conversion hid, as its manifest says."""
    return manifest.get("counts", {}).get("captions", {}).get("skipped", {}).get(HIDDEN, 0)
