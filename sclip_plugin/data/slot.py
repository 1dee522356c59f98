"""One worker of one rank in one epoch: which pairs and unpaired images it reads, and in which batches.

Legend: B pairs and U unpaired images per rank and micro-step, W ranks, S micro-steps per epoch.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, NamedTuple

from sclip_plugin.data.config import MixedConfig
from sclip_plugin.data.order import (
    Block,
    Layout,
    Passes,
    Segment,
    epoch_blocks,
    generator,
    resampled,
    runs,
    whole_shards,
)
from sclip_plugin.data.randomness import Generators
from sclip_plugin.data.samples import Members, Skip, captions, image_bytes
from sclip_plugin.data.shard_list import ShardSet
from sclip_plugin.data.stream import Raw, SampleStream, take
from sclip_plugin.decoding import ImageFault, decode_rgb

Transform = Callable[[Any], Any]  # PIL image → what the batch stacks


def decode(members: Members, transform: Transform, draft: int | None = None) -> Any:
    """The transformed image of a sample.

    Args:
        members: the sample.
        transform: applied to the decoded RGB image.
        draft: as `decoding.decode_rgb` takes it.

    Raises:
        Skip: there is no image, or it cannot be used.
    """
    try:
        picture = decode_rgb(image_bytes(members), draft)
    except ImageFault as fault:
        raise Skip(str(fault)) from None
    return transform(picture)


class Drawn(NamedTuple):
    """What makes a batch, and where it came from.

    Attributes:
        pairs: B (image, caption).
        images: U unpaired images.
        pair_places: (shard, position) of each pair.
        image_places: (shard, position) of each unpaired image.
    """

    pairs: list[tuple[Any, str]]
    images: list[Any]
    pair_places: list[tuple[int, int]]
    image_places: list[tuple[int, int]]


class Slot:
    """One worker of one rank in one epoch; see `data.order` for who reads what.

    Attributes:
        counts: outcomes of the samples read, by `"paired: read"`, `"unpaired: undecodable image"`, …; whoever takes
            the batches takes the counts too and clears them.
    """

    def __init__(self, config: MixedConfig, transform: Transform, epoch: int, worker: int, workers: int):
        self.config, self.transform, self.epoch = config, transform, epoch
        place = (config.rank, config.world_size, worker, workers, config.steps)
        self.paired = Layout(*place, config.batch_size)
        self.unpaired = Layout(*place, config.unpaired_batch_size)
        self.key = (config.seed, epoch, config.rank, worker, workers)
        self.caption_rng = generator("captions", *self.key)
        self.counts: Counter = Counter()

    def batches(self) -> Iterator[Drawn]:
        """B pairs and U unpaired images for each of this slot's micro-steps, in order.

        Pairs, captions and crops are the same whether there are unpaired images or not, so that a run without them can
        be compared with one that has them.

        Raises:
            DataError: a whole pass over a set held no usable sample.
        """
        unpaired = self.config.unpaired
        images: Iterator[tuple[Raw, Any]] = iter(())
        if unpaired is not None:
            stream = self._stream("unpaired", unpaired, self._decode_image)
            images = self._samples(stream, unpaired, self.unpaired, self._unpaired_window(unpaired))
        crops_of_pairs, crops_of_images = self._generators("transforms"), self._generators("unpaired transforms")
        batches = self._pairs()
        while True:
            with crops_of_pairs:
                pairs = next(batches, None)
            if pairs is None:
                return
            with crops_of_images:
                drawn = list(islice(images, self.config.unpaired_batch_size))
            yield Drawn(
                [pair for _, pair in pairs],
                [image for _, image in drawn],
                [raw.identity for raw, _ in pairs],
                [raw.identity for raw, _ in drawn],
            )

    def _generators(self, name: str) -> Generators:
        return Generators(generator(name, *self.key).getrandbits(32))

    def _stream(self, name: str, source: ShardSet, decode: Callable[[Raw], Any]) -> SampleStream:
        return SampleStream(source.shards.urls, name, decode, source.shards.flag, self.counts)

    def _decode_image(self, raw: Raw) -> Any:
        return decode(raw.members, self.transform, self.config.draft)

    def _decode_pair(self, raw: Raw) -> tuple[Any, str]:
        caption = self.caption_rng.choice(captions(raw.members))
        return self._decode_image(raw), caption

    def _pairs(self) -> Iterator[list]:
        """The paired half of each of this slot's batches."""
        config, layout = self.config, self.paired
        stream = self._stream("paired", config.paired, self._decode_pair)
        if config.resampled or config.paired.sizes is None:
            samples = self._samples(stream, config.paired, layout, None)
            for _ in layout.own_steps():
                yield take(samples, layout.batch)
            return
        passes = Passes(config.paired.sizes, config.seed, "paired")
        start = self.epoch * config.epoch_samples
        samples = iter(())
        for number, block in enumerate(
            epoch_blocks(passes, start, config.epoch_samples, config.global_batch, config.accum)
        ):
            if block.samples is None or not number:
                samples = self._samples(stream, config.paired, layout, self._window(passes, block), number)
            for step in layout.own_steps(block.first, block.stop):
                yield take(chain(self._listed(stream, block, step), samples), layout.batch)

    def _window(self, passes: Passes, block: Block) -> Iterator[Segment]:
        """Segments of what this slot reads of a block that reads on in its pass; none of a listed one."""
        if block.samples is not None:
            return iter(())
        layout = self.paired
        mine = block.position + layout.start(block.first, block.stop)
        return passes.window(mine, mine + len(layout.own_steps(block.first, block.stop)) * layout.batch)

    def _listed(self, stream: SampleStream, block: Block, step: int) -> Iterator[tuple[Raw, Any]]:
        """This slot's samples of a listed block for one of its micro-steps."""
        if block.samples is None:
            return iter(())
        first = ((step - block.first) * self.config.world_size + self.config.rank) * self.paired.batch
        return stream.decoded(stream.raw(runs(block.samples[first : first + self.paired.batch])))

    def _unpaired_window(self, unpaired: ShardSet) -> Iterator[Segment] | None:
        """Segments of the endless unpaired sequence that this slot reads in this epoch; None: sizes are unknown."""
        config, layout = self.config, self.unpaired
        if config.resampled or unpaired.sizes is None:
            return None
        passes = Passes(unpaired.sizes, config.seed, "unpaired")
        epoch_start = self.epoch * config.steps * config.world_size * layout.batch
        mine = epoch_start + layout.start()
        return passes.window(mine, mine + len(layout.own_steps()) * layout.batch)

    def _samples(
        self, stream: SampleStream, source: ShardSet, layout: Layout, window: Iterator[Segment] | None, block: int = 0
    ) -> Iterator[tuple[Raw, Any]]:
        """The window's samples, then more where some of them were unusable; without a window, shards for ever.

        Args:
            block: number of the block in the epoch, whose samples are shuffled in an order of their own.
        """
        config, shards = self.config, len(source.shards)
        rng = generator("samples", stream.name, *self.key, *([block] if block else []))
        if window is not None:
            return stream.window(window, lambda number: self._replacements(stream, source, layout, number), rng)
        if config.resampled:
            weights = source.shards.weights
            drawn = ("drawn", stream.name, *self.key)
            return stream.endless(lambda number: resampled(shards, weights, layout, *drawn, number), rng)
        first = self._first_pass(source, layout)
        return stream.endless(
            lambda number: whole_shards(shards, layout, config.seed, stream.name, first + number), rng
        )

    def _replacements(self, stream: SampleStream, source: ShardSet, layout: Layout, number: int) -> Iterator[Segment]:
        """A whole later pass, which each slot begins at another sample."""
        assert source.sizes is not None  # a window was read from them
        passes = Passes(source.sizes, self.config.seed, stream.name)
        start = (self.epoch + 1 + number) * passes.total + layout.slot * passes.total // layout.slots
        return passes.window(start, start + passes.total)

    def _first_pass(self, source: ShardSet, layout: Layout) -> int:
        """Where sizes are unknown an epoch starts with a new order: the one that as many samples would have reached."""
        if not source.num_samples:
            return self.epoch
        read = self.epoch * self.config.steps * self.config.world_size * layout.batch
        return max(self.epoch, read // source.num_samples)
