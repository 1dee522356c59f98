"""A slot's decoded samples, in order: segments → samples → shuffle buffer → image and captions, bad ones counted."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from sclip_plugin.data.order import Segment
from sclip_plugin.data.samples import IMAGE_SUFFIXES, Members, Skip, read_samples
from sclip_plugin.errors import DataError
from sclip_plugin.storage.patience import take_troubles

# Samples that wait, still encoded, to be drawn at random, and how many must wait before the first is drawn. The numbers
# are ours: open_clip holds 5000 of one kind and reads 1000 before its first batch; a mixed loader holds two kinds.
SHUFFLE_BUFFER = 2000
SHUFFLE_INITIAL = 500

STORE = "store: "  # begins the counts of what is no sample's fault

T = TypeVar("T")

END_OF_PASS = None  # among segments, and among the samples read from them: all samples of the set have been passed


@dataclass
class Raw:
    """An encoded sample and where it came from.

    Attributes:
        identity: (shard, position), by which a sample is told from others.
        members: its members by suffix.
    """

    identity: tuple[int, int]
    members: Members


@dataclass
class SampleStream:
    """Reads one data set for one slot.

    Args:
        urls: its shards.
        name: "paired" or "unpaired", for counts and messages.
        decode: Raw → decoded sample; raises `Skip`.
        flag: the option that named it, for messages.
        counts: where outcomes are counted, `"NAME: read"` and `"NAME: REASON"`, and waiting for a store as
            `"store: request repeated"` and `"store: slow answer"`.
    """

    urls: list[str]
    name: str
    decode: Callable[[Raw], Any]
    flag: str
    counts: Counter = field(default_factory=Counter)

    dry_passes: int = 0  # passes in a row that gave nothing usable

    def raw(self, segments: Iterable[Segment | None]) -> Iterator[Raw | None]:
        """Encoded samples of the segments, in order, and `END_OF_PASS` where the segments say so."""
        in_pass = 0
        for segment in segments:
            if segment is END_OF_PASS:
                in_pass = 0
                yield END_OF_PASS
                continue
            faults: Counter = Counter()
            for position, members in read_samples(self.urls[segment.shard], segment.first, segment.stop, faults):
                in_pass += 1
                if in_pass % segment.stride == segment.offset:
                    yield Raw((segment.shard, position), members)
            for reason, number in faults.items():
                self.counts[f"{self.name}: {reason}"] += number
            for trouble, number in take_troubles().items():
                self.counts[f"{STORE}{trouble}"] += number

    def decoded(self, raws: Iterable[Raw | None], patience: int = 1) -> Iterator[tuple[Raw, Any]]:
        """Usable samples; the others are counted by reason.

        Raises:
            DataError: where `patience` passes in a row gave no usable sample.
        """
        usable = False
        for raw in raws:
            if raw is END_OF_PASS:
                self.dry_passes, usable = 0 if usable else self.dry_passes + 1, False
                if self.dry_passes >= patience:
                    raise DataError(self.nothing_usable())
                continue
            try:
                sample = self.decode(raw)
            except Skip as reason:
                self.counts[f"{self.name}: {reason}"] += 1
                continue
            usable = True
            self.counts[f"{self.name}: read"] += 1
            yield raw, sample

    def window(
        self, segments: Iterable[Segment], replacements: Callable[[int], Iterable[Segment]], rng: random.Random
    ) -> Iterator[tuple[Raw, Any]]:
        """Usable samples of the segments, shuffled; then, to stand for those that were not usable, samples of
        `replacements(0)`, `replacements(1)`, …, each a whole pass.

        Raises:
            DataError: a whole pass of replacements gave no usable sample.
        """
        yield from self.decoded(shuffled(self.raw(segments), rng))
        yield from self.decoded(self.raw(forever(replacements)))

    def endless(self, passes: Callable[[int], Iterable[Segment]], rng: random.Random) -> Iterator[tuple[Raw, Any]]:
        """Usable samples of `passes(0)`, `passes(1)`, … for ever, each pass shuffled.

        A pass here is what the slot happens to see of the set. After one that gave nothing the slot goes through all
        shards, and only if that gives nothing either is the set unusable.

        Raises:
            DataError: the set is unusable.
        """

        def passes_or_all(number: int) -> Iterable[Segment]:
            return map(Segment, range(len(self.urls))) if self.dry_passes else passes(number)

        yield from self.decoded(shuffled(self.raw(forever(passes_or_all)), rng), patience=2)

    def nothing_usable(self) -> str:
        """What a pass found, and what a usable sample needs; for the user."""
        prefix = f"{self.name}: "
        own = {key.removeprefix(prefix): n for key, n in sorted(self.counts.items()) if key.startswith(prefix)}
        found = ", ".join(f"{number} × {outcome}" for outcome, number in own.items()) or "no samples"
        need = f"an image ({', '.join(IMAGE_SUFFIXES)})" + (" and a caption (.txt)" if self.name == "paired" else "")
        return (
            f"{self.flag}: no usable sample in a whole pass over {len(self.urls)} shards; "
            f"found {found}; a sample needs {need} under one key"
        )


def forever(passes: Callable[[int], Iterable[Segment]]) -> Iterator[Segment | None]:
    """The segments of `passes(0)`, `passes(1)`, …, `END_OF_PASS` after each."""
    for number in count():
        yield from passes(number)
        yield END_OF_PASS


def shuffled(
    items: Iterable[T | None], rng: random.Random, size: int = SHUFFLE_BUFFER, initial: int = SHUFFLE_INITIAL
) -> Iterator[T | None]:
    """The items of each pass in random order, from a buffer of `size`; drawing begins once it holds `initial` and goes
    on at half speed until it is full. Nothing is held back across the end of a pass."""
    buffer: list[T | None] = []
    for number, item in enumerate(items):
        if item is END_OF_PASS:
            rng.shuffle(buffer)
            yield from buffer
            yield END_OF_PASS
            buffer = []
            continue
        buffer.append(item)
        if len(buffer) > size or (len(buffer) > initial and number % 2):
            index = rng.randrange(len(buffer))
            buffer[index], buffer[-1] = buffer[-1], buffer[index]
            yield buffer.pop()
    rng.shuffle(buffer)
    yield from buffer


def take(stream: Iterator[tuple[Raw, Any]], number: int) -> list[tuple[Raw, Any]]:
    """The next `number` samples with different identities."""
    batch: list[tuple[Raw, Any]] = []
    present: set[tuple[int, int]] = set()
    repeats = 0
    while len(batch) < number:
        raw, sample = next(stream)
        # a set smaller than a batch cannot fill it without repeating: after a whole batch of repeats, let them in
        if raw.identity in present and repeats < number:
            repeats += 1
            continue
        present.add(raw.identity)
        batch.append((raw, sample))
    return batch
