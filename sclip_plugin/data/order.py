"""Who reads what, and when: pure functions of seed, layout and epoch.

Legend: W ranks, n workers per rank; a slot is one worker of one rank; S micro-steps per epoch.

The samples of a data set stand in an endless sequence of passes; each pass is the whole set, its shards in a new order.
An epoch reads a window of that sequence, and each slot a contiguous part of the window, so that samples are divided
where shards are fewer than slots, no sample is read by two slots, and nothing has to be read to know where to go on.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Segment:
    """Samples first … stop-1 (None: to the end) of a shard; of a pass's samples only each `stride`-th, by `offset`."""

    shard: int
    first: int = 0
    stop: int | None = None
    stride: int = 1
    offset: int = 0


@dataclass(frozen=True)
class Layout:
    """The slot that asks, and the size of a step.

    rank, world_size, worker, num_workers: which slot of how many. steps: S. batch: samples of one slot in one step.
    """

    rank: int
    world_size: int
    worker: int
    num_workers: int
    steps: int
    batch: int

    @property
    def slots(self) -> int:
        """Slots in all, W·n."""
        return self.world_size * self.num_workers

    @property
    def slot(self) -> int:
        """Number of this slot."""
        return self.rank * self.num_workers + self.worker

    def own_steps(self, stop: int | None = None) -> int:
        """How many of steps 0 … stop-1 this slot's worker gives: a DataLoader asks its workers in turn."""
        return self._steps_of(self.worker, self.steps if stop is None else stop)

    def start(self, stop: int | None = None) -> int:
        """Samples that the slots before this one read in steps 0 … stop-1."""
        stop = self.steps if stop is None else stop
        before = sum(self._steps_of(worker, stop) for worker in range(self.worker))
        return (self.rank * stop + before) * self.batch

    def _steps_of(self, worker: int, stop: int) -> int:
        return len(range(worker, stop, self.num_workers))


def generator(*words) -> random.Random:
    """A random generator that depends on nothing but its arguments."""
    return random.Random(" ".join(map(str, words)))


class Passes:
    """The endless sequence of passes over shards of known sizes.

    Args:
        sizes: (shards,) samples in each.
        seed: of the shard orders.
        name: keeps the orders of two data sets apart.
    """

    def __init__(self, sizes: np.ndarray, seed: int, name: str):
        self.sizes, self.seed, self.name = sizes, seed, name
        self.total = int(sizes.sum())
        self._cached: tuple[int, np.ndarray, np.ndarray] | None = None

    def _pass(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(order, ends): shards in this pass's order, and the cumulative sizes."""
        if self._cached is None or self._cached[0] != number:
            bits = generator(self.seed, self.name, number).getrandbits(64)
            order = np.random.default_rng(bits).permutation(len(self.sizes))
            self._cached = (number, order, np.cumsum(self.sizes[order]))
        return self._cached[1], self._cached[2]

    def window(self, start: int, stop: int) -> Iterator[Segment]:
        """Segments of positions start … stop-1 of the endless sequence."""
        while start < stop:
            number, low = divmod(start, self.total)
            high = min(self.total, low + stop - start)
            yield from self._within(number, low, high)
            start += high - low

    def _within(self, number: int, low: int, high: int) -> Iterator[Segment]:
        """Segments of positions low … high-1 of one pass. Each pass starts at another sample, so that few shards, even
        a single one, are not divided in the same way in every epoch."""
        turn = generator(self.seed, self.name, "turn", number).randrange(self.total)
        low, high = low + turn, high + turn
        yield from self._in_order(number, min(low, self.total), min(high, self.total))
        yield from self._in_order(number, max(low, self.total) - self.total, max(high, self.total) - self.total)

    def _in_order(self, number: int, low: int, high: int) -> Iterator[Segment]:
        order, ends = self._pass(number)
        index = int(np.searchsorted(ends, low, side="right"))
        while low < high:
            shard, end = int(order[index]), int(ends[index])
            begin = end - int(self.sizes[shard])
            if min(high, end) > low:
                yield Segment(shard, low - begin, min(high, end) - begin)
            low, index = max(low, min(high, end)), index + 1


def last_batch(passes: Passes, start: int, tail: int, wanted: int) -> list[tuple[int, int]]:
    """(shard, position) of the samples of an epoch's last global batch.

    The `tail` samples from `start` on, then the next order's, without any that is already there, up to `wanted`.
    """
    chosen = dict.fromkeys(_positions(passes.window(start, start + tail)))
    for sample in _positions(passes.window(start + tail, start + tail + passes.total)):
        if len(chosen) >= wanted:
            break
        chosen.setdefault(sample)
    return list(chosen)


def _positions(segments) -> Iterator[tuple[int, int]]:
    for segment in segments:
        for position in range(segment.first, segment.stop):
            yield segment.shard, position


def runs(samples: list[tuple[int, int]]) -> Iterator[Segment]:
    """Segments that cover (shard, position) pairs, one for each run of adjacent positions."""
    start = 0
    for index in range(1, len(samples) + 1):
        shard, position = samples[index - 1]
        if index == len(samples) or samples[index] != (shard, position + 1):
            yield Segment(shard, samples[start][1], position + 1)
            start = index


def whole_shards(shards: int, layout: Layout, seed: int, name: str, number: int) -> Iterator[Segment]:
    """One slot's share of a pass where sizes are unknown: some of the shards, or of all their samples where shards are
    fewer than slots. The shares go round the slots, so that as many passes as slots show each slot the whole set."""
    turn, within = divmod(number, layout.slots)
    share = (layout.slot + within) % layout.slots
    order = list(range(shards))
    generator(seed, name, turn).shuffle(order)
    if shards < layout.slots:
        yield from (Segment(shard, stride=layout.slots, offset=share) for shard in order)
        return
    own = order[share :: layout.slots]
    generator(seed, name, number, share).shuffle(own)
    yield from (Segment(shard) for shard in own)


def resampled(shards: int, weights: np.ndarray | None, layout: Layout, *seed) -> Iterator[Segment]:
    """As many whole shards as there are, drawn with replacement (`--dataset-resampled`), by weight."""
    rng = generator(*seed, layout.slot)
    cumulative = None if weights is None else np.cumsum(weights).tolist()
    for _ in range(shards):
        yield Segment(rng.choices(range(shards), cum_weights=cumulative)[0])
