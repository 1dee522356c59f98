"""Evaluation images that are in the training set beside them, found by their bytes."""

from collections.abc import Iterator

from sclip_plugin.shards import layout
from sclip_plugin.shards.engines.engine import Engine
from sclip_plugin.shards.manifest import read_json
from sclip_plugin.shards.shard_images import in_training, training_shards
from sclip_plugin.shards.verification.faults import Fault
from sclip_plugin.storage.location import Location, tars

LEAK = "evaluation image that is in paired or unpaired too"


def leak_faults(root: Location, engine: Engine) -> Iterator[Fault]:
    """Images of val, and of classification sets made of val, whose bytes are in the training set at or above `root`.

    Other classification sets are not looked at: one of all images holds those of the training set.

    Args:
        root: a training set with the evaluation sets in it, or one of these sets.
        engine: does the work.
    """
    whole = root.resolve()
    held_out: list[Location] = [whole]
    if training_shards(whole):
        held_out = [path.parent for path in whole.glob(f"*/{layout.TEST}")]
        held_out.sort(key=str)
    else:
        whole = whole.parent
    tests = [folder / layout.TEST for folder in held_out if _is_held_out(folder)]
    shards = [shard for test in tests for shard in tars(test)]
    for shard, key, place in in_training(shards, whole, engine):
        yield Fault(LEAK, f"{shard}: {key}, in training as {place}")


def _is_held_out(folder: Location) -> bool:
    """Whether an evaluation set must not share images with the training set beside it."""
    if folder.name == layout.VAL:
        return True
    manifest = read_json(folder / layout.MANIFEST)
    options = manifest.get("options") if isinstance(manifest, dict) else None
    return isinstance(options, dict) and options.get("subset") == layout.VAL
