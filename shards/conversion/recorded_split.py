"""The split of the training set in an output folder, which a classification set of one of its parts must share.

A part such as val is what the split options make it. Where a set of "val" is made with others, it holds images that the
training set beside it trains on.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sclip_plugin.errors import DataError
from sclip_plugin.shards import layout
from sclip_plugin.shards.conversion.sources import SourceSelection, open_sources
from sclip_plugin.shards.conversion.writer import PLAN, PROGRESS
from sclip_plugin.shards.manifest import read_manifest

#: the options of a manifest that decide the split, with the types that they may have
SPLIT_OPTIONS: Final[Mapping[str, tuple[type, ...]]] = {
    "seed": (int,),
    "val_ratio": (float, int, type(None)),
    "val_split": (str, type(None)),
    "paired_ratio": (float, int),
    "group_column": (str, type(None)),
    "split_column": (str, type(None)),
}


def recorded_split(root: Path, selection: SourceSelection) -> Mapping[str, object] | None:
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
    if not path.exists():
        if (root / PROGRESS / PLAN).exists():
            raise DataError(f"--out: {root}: a conversion into it has not ended; run it again first, to its end")
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
