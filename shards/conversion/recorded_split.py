"""The split of the training set in an output folder, which a classification set of one of its parts must share.

A part such as val is what the split options make it. Where a set of "val" is made with others, it holds images that the
training set beside it trains on.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sclip_plugin.errors import DataError
from sclip_plugin.shards import layout
from sclip_plugin.shards.conversion.sources import SourceSelection, open_sources
from sclip_plugin.shards.conversion.writer import unfinished
from sclip_plugin.shards.manifest import is_manifest, read_json, read_manifest
from sclip_plugin.storage.location import Location

#: the options of a manifest that decide the split, with the types that they may have
SPLIT_OPTIONS: Final[Mapping[str, tuple[type, ...]]] = {
    "seed": (int,),
    "val_ratio": (float, int, type(None)),
    "val_split": (str, type(None)),
    "paired_ratio": (float, int),
    "group_column": (str, type(None)),
    "split_column": (str, type(None)),
}


def recorded_split(root: Location, selection: SourceSelection) -> Mapping[str, object] | None:
    """The split options with which a training set in `root` was made of one of these sources, by `SPLIT_OPTIONS`.

    Args:
        root: the output folder.
        selection: the sources.

    Returns:
        None where no conversion made a training set of these sources there.

    Raises:
        DataError: the manifest in `root` is damaged, or the conversion has not ended.
        UsageError: the sources cannot be read as selected.
    """
    path = root / layout.MANIFEST
    if unfinished(root):
        raise DataError(f"--out: {root}: a conversion into it has not ended; run it again first, to its end")
    if not path.exists():
        return None
    manifest = read_manifest(path)
    options = manifest["options"]
    if options.get("kind") is not None or "made_by" in manifest:
        return None
    if not any(one.reader.describe() in manifest["source"] for one in open_sources(selection, False, Path())):
        return None
    for name, types in SPLIT_OPTIONS.items():
        if not isinstance(options.get(name), types):
            raise DataError(f"{path}: options: {name} is {options.get(name)!r}")
    return {name: options.get(name) for name in SPLIT_OPTIONS}


def check_sets(root: Location, options: Mapping[str, object], sources: Sequence[Mapping[str, object]]) -> None:
    """Refuse a training set beside classification sets of held-out images that another split held out.

    Args:
        root: the output folder.
        options: of the training set that is to be made, as its manifest will record them.
        sources: what it is made of, as its manifest will describe them.

    Raises:
        DataError: a set in `root` was made of one of these sources with another split; names both.
    """
    found: list[Location] = [*root.glob(f"*/{layout.MANIFEST}")]
    for path in sorted(found, key=str):
        manifest = read_json(path)
        if not is_manifest(manifest) or manifest["options"].get("subset") != layout.VAL:
            continue
        made = manifest["options"]
        differing = [name for name in SPLIT_OPTIONS if made.get(name) != options.get(name)]
        if differing and any(source in manifest["source"] for source in sources):
            listed = ", ".join(f"{name} {options.get(name)} is {made.get(name)} there" for name in differing)
            raise DataError(
                f"--out: {path.parent} holds out other images ({listed}); remove it first, and make it after"
            )
