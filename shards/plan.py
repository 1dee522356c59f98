"""Who goes where: keys, the split into val, paired and unpaired, and the samples of each shard. No input or output.

Everything is ordered by a hash of seed and name, not by position, so that a smaller set is part of a larger one and
adding images moves few of the others.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import Sample

SHARD_SIZE = 1000  # ours: about 100 MB of ordinary photographs
LEAST_SHARDS = 4  # ours: so that a few loader workers have one each
KEY_LENGTH = 80  # with the suffix below the 100 bytes of a plain tar header
UNPAIRED_GROUP = "no caption, and its group is in paired or val"


def rank(seed: int, salt: str, name: str) -> bytes:
    """Position of `name` in the seeded order."""
    return hashlib.sha256(f"{seed}\0{salt}\0{name}".encode("utf-8", "surrogatepass")).digest()


def assign_keys(samples: list[Sample]) -> None:
    """Give every sample its key: the source's path without suffix, in letters, digits, `_` and `-`.

    Keys that would come out equal (also without case) get eight digits of the source's hash.

    Raises:
        DataError: two sources that differ in nothing but the suffix; names both.
    """
    stems: dict[str, Sample] = {}
    wanted: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        stem = _stem(sample.source)
        if stem in stems:
            both = f"{stems[stem].image.path} and {sample.image.path}"
            raise DataError(f"two images of the same key: {both}; rename or remove one")
        stems[stem] = sample
        wanted[re.sub(r"[^A-Za-z0-9_-]+", "_", stem).casefold()].append(sample)
    for alike in wanted.values():
        for sample in alike:
            key = re.sub(r"[^A-Za-z0-9_-]+", "_", _stem(sample.source))
            if len(alike) > 1 or len(key) > KEY_LENGTH or not key.strip("_"):
                digest = hashlib.sha256(sample.source.encode("utf-8", "surrogatepass")).hexdigest()
                key = f"{key[: KEY_LENGTH - 9]}-{digest[:8]}"
            sample.key = key


def _stem(source: str) -> str:
    folder, slash, name = source.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)


def split(samples: Iterable[Sample], val: float, paired: float, seed: int, skipped: Counter) -> dict[str, list[Sample]]:
    """{"paired", "unpaired", "val"}: lists of samples, each in the seeded order.

    Val is taken first, `val` of the images with captions (or those that the source itself calls val or test), then
    `paired` of the rest; the others' captions are hidden. A group is taken whole, so that counts may exceed the
    ratios by part of a group. A captionless image whose group went to paired or val is left out, counted in `skipped`.
    """
    units: dict[str, list[Sample]] = defaultdict(list)
    bare = []
    for sample in samples:
        if sample.captions:
            units[_unit(sample)].append(sample)
        else:
            bare.append(sample)
    order = sorted(units, key=lambda unit: rank(seed, "split", unit))
    own = {unit for unit in order if any(sample.split in ("val", "test") for sample in units[unit])}
    total = sum(map(len, units.values()))
    held = own or _take(order, units, round(val * total))
    rest = [unit for unit in order if unit not in held]
    left = sum(len(units[unit]) for unit in rest)
    kept = _take(rest, units, max(1, round(paired * left)))
    parts = {
        "paired": [sample for unit in rest if unit in kept for sample in units[unit]],
        "unpaired": [sample for unit in rest if unit not in kept for sample in units[unit]],
        "val": [sample for unit in order if unit in held for sample in units[unit]],
    }
    for sample in bare:
        unit = _unit(sample)
        if unit in held or unit in kept:
            skipped[UNPAIRED_GROUP] += 1
        else:
            parts["unpaired"].append(sample)
    return {name: sorted(part, key=lambda sample: rank(seed, "order", sample.source)) for name, part in parts.items()}


def _unit(sample: Sample) -> str:
    return f"group {sample.group}" if sample.group else f"image {sample.source}"


def _take(order: list[str], units: dict[str, list[Sample]], count: int) -> set[str]:
    """The first units that hold `count` samples together."""
    taken, held = set(), 0
    for unit in order:
        if held >= count:
            break
        taken.add(unit)
        held += len(units[unit])
    return taken


def shard_count(samples: int, shards: int | None = None, size: int | None = None) -> int:
    """How many shards for so many samples: `shards`, or ceil(samples / size), or by default ceil(samples / 1000) and
    at least 4 where each then holds 4 samples. Never more shards than samples; 0 for none."""
    if samples == 0:
        return 0
    if shards is None:
        shards = -(-samples // (size or SHARD_SIZE))
        if size is None:
            shards = max(shards, min(LEAST_SHARDS, samples // LEAST_SHARDS))
    return min(max(1, shards), samples)


def cut(samples: list[Sample], shards: int) -> list[list[Sample]]:
    """`samples` in `shards` runs whose lengths differ by at most one."""
    edges = [len(samples) * number // shards for number in range(shards + 1)] if shards else []
    return [samples[first:last] for first, last in pairwise(edges)]
