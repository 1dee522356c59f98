"""The shard plan: which samples go into which shard of a training set or of a classification set."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

from sclip_plugin.shards import layout
from sclip_plugin.shards.conversion.index import SampleIndex
from sclip_plugin.shards.images import Transform
from sclip_plugin.shards.sample import Sample
from sclip_plugin.storage.location import Location

SHARD_SIZE: Final = 1000  # ours: about 100 MB of ordinary photographs
LEAST_SHARDS: Final = 4  # ours: so that a few loader workers have one each

_json: Final = json.JSONEncoder().encode  # made once: it takes half as long as json.dumps


@dataclass(frozen=True)
class Job:
    """One shard.

    Attributes:
        name: its path below the plan's root.
        kind: the part that its samples are of ("paired", …), which decides its members (`layout.members`).
        first: position, within the part, of its first sample.
        stop: position after its last sample.
    """

    name: str
    kind: str
    first: int
    stop: int


@dataclass(frozen=True)
class ShardPlan:
    """A part of the output that stands or falls together: a training set or a classification set.

    Attributes:
        root: folder of the set, on the disk or in a store.
        jobs: its shards, part after part.
        index: the samples, in their places.
        transform: what is done to the images.
        options: the options that decide the bytes, as the manifest records them.
        classes: names of the classes; the member `.cls` holds a position in this list.
    """

    root: Location
    jobs: list[Job]
    index: SampleIndex
    transform: Transform
    options: Mapping[str, object]
    classes: list[str]

    def samples(self, job: Job) -> Iterator[Sample]:
        """The samples of a shard, in order."""
        return self.index.placed(job.kind, job.first, job.stop)

    @property
    def sizes(self) -> dict[str, int]:
        """{part: samples} in the order of the jobs; a part without samples is missing."""
        return {job.kind: job.stop for job in self.jobs}  # a part's last job counts

    def shards(self, kind: str) -> int:
        """How many shards a part has."""
        return sum(job.kind == kind for job in self.jobs)

    @cached_property
    def digest(self) -> str:
        """A hash of all that decides the bytes of the shards: equal plans give equal shards."""
        seen = hashlib.sha256(json.dumps([self.options, self.classes], sort_keys=True).encode())
        for job in self.jobs:
            seen.update(f"\0{job.name}\0{job.kind}".encode())
            for one in self.samples(job):
                row = [one.key, one.source, one.captions, one.label, one.group, one.suffix, one.recode]
                seen.update(_json([*row, one.size, one.fingerprint.hex()]).encode())
        return seen.hexdigest()


def jobs_of(kind: str, samples: int, shards: int | None, shard_size: int | None) -> list[Job]:
    """The shards of a part of so many samples; `shards` and `shard_size` as for `shard_count`."""
    folder = layout.shard_folder(kind)
    runs = cut(samples, shard_count(samples, shards, shard_size))
    return [
        Job(f"{folder}/{layout.shard_name(kind, number)}", kind, first, stop)
        for number, (first, stop) in enumerate(runs)
    ]


def shard_count(samples: int, shards: int | None = None, size: int | None = None) -> int:
    """How many shards there are for so many samples.

    That is `shards`, or ceil(samples / size), or by default ceil(samples / 1000) and at least 4 where each then holds
    4 samples. There are never more shards than samples, and none without samples.
    """
    if samples == 0:
        return 0
    if shards is None:
        shards = -(-samples // (size or SHARD_SIZE))
        if size is None:
            shards = max(shards, min(LEAST_SHARDS, samples // LEAST_SHARDS))
    return min(max(1, shards), samples)


def cut(samples: int, shards: int) -> list[tuple[int, int]]:
    """(first, stop) of each of `shards` runs of 0 … samples-1 whose lengths differ by at most one."""
    edges = [samples * number // shards for number in range(shards + 1)] if shards else []
    return list(pairwise(edges))
