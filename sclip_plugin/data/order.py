"""Who reads what, and when: pure functions of seed, layout and epoch.

Legend: W ranks, n workers per rank; a slot is one worker of one rank; S micro-steps per epoch; B samples per rank and
micro-step.

The samples of a data set stand in an endless sequence of passes; each pass is the whole set, its shards in a new order.
An epoch reads a window of that sequence, and each slot a contiguous part of the window, so that samples are divided
where shards are fewer than slots, no sample is read by two slots, and nothing has to be read to know where to go on.

The pairs are read in blocks, none of which runs from one pass into the next: two passes hold the same samples, and a
global batch must not hold one of them twice. The batch between two passes is drawn up sample by sample.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Segment:
    """A run of samples in one shard.

    Attributes:
        shard: number of the shard.
        first: position of the first sample.
        stop: position after the last one; None: to the end of the shard.
        stride: of the samples that a pass gives, only each `stride`-th counts …
        offset: … the one whose number in the pass leaves this remainder.
    """

    shard: int
    first: int = 0
    stop: int | None = None
    stride: int = 1
    offset: int = 0


@dataclass(frozen=True)
class Layout:
    """The slot that asks, and the size of a step.

    Attributes:
        rank: this rank's number, of `world_size`.
        world_size: W.
        worker: this worker's number, of `num_workers`.
        num_workers: n, at least 1.
        steps: S.
        batch: samples that one slot reads for one of its steps, B.
    """

    rank: int
    world_size: int
    worker: int
    num_workers: int
    steps: int
    batch: int

    @property
    def slots(self) -> int:
        """The number of slots, W·n."""
        return self.world_size * self.num_workers

    @property
    def slot(self) -> int:
        """The number of this slot among all."""
        return self.rank * self.num_workers + self.worker

    def own_steps(self, first: int = 0, stop: int | None = None) -> range:
        """Those of the micro-steps first … stop-1 that this slot's worker gives: a DataLoader asks its workers in
        turn."""
        return self._steps_of(self.worker, first, self.steps if stop is None else stop)

    def start(self, first: int = 0, stop: int | None = None) -> int:
        """Samples that the slots before this one read in the micro-steps first … stop-1."""
        stop = self.steps if stop is None else stop
        before = sum(len(self._steps_of(worker, first, stop)) for worker in range(self.worker))
        return (self.rank * (stop - first) + before) * self.batch

    def _steps_of(self, worker: int, first: int, stop: int) -> range:
        return range(first + (worker - first) % self.num_workers, stop, self.num_workers)


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


@dataclass(frozen=True)
class Block:
    """Micro-steps of an epoch whose pairs are found in one way.

    Attributes:
        first: number of the first micro-step in the epoch.
        stop: number after the last one.
        position: where the block's samples begin in the endless sequence. Without `samples` the block reads on from
            there, and stays within one pass.
        samples: (shard, position) of each sample of the block, which is one global batch then; None: as said above.
    """

    first: int
    stop: int
    position: int
    samples: list[tuple[int, int]] | None = None


def epoch_blocks(passes: Passes, start: int, samples: int, global_batch: int, accum: int) -> Iterator[Block]:
    """The blocks of an epoch that begins at `start` in the endless sequence and asks for so many samples.

    A pass is read in whole global batches as far as it goes; what is left of it forms a batch with the first samples of
    the next pass, each sample once. The epoch's last batch is formed in the same way.

    Args:
        passes: of the pairs; a pass holds at least one global batch.
        start: position of the epoch's first sample.
        samples: how many the epoch asks for; the last batch is filled beyond them.
        global_batch: samples of one optimizer step.
        accum: micro-steps of one optimizer step.
    """
    step, position, left = 0, start, samples
    while left > 0:
        in_pass = min(left, passes.total - position % passes.total)
        whole = (in_pass - 1) // global_batch
        if whole:
            yield Block(step, step + whole * accum, position)
        position, left, step = position + whole * global_batch, left - whole * global_batch, step + whole * accum
        tail = in_pass - whole * global_batch
        yield Block(step, step + accum, position, mixed_batch(passes, position, tail, global_batch))
        position, left, step = position + global_batch, left - global_batch, step + accum


def mixed_batch(passes: Passes, start: int, tail: int, wanted: int) -> list[tuple[int, int]]:
    """(shard, position) of the samples of a global batch between two passes or at an epoch's end.

    The `tail` samples from `start` on, then those that follow, without any that is already there, up to `wanted`.
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
