"""The mixed loader: one DataLoader whose workers give whole batches of B pairs and U unpaired images.

Legend: B pairs and U unpaired images per rank and micro-step, W ranks, S micro-steps per epoch, K keywords.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import Value

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, default_collate, get_worker_info

from sclip_plugin.data.batch import MixedBatch, MixedImages, MixedTexts
from sclip_plugin.data.order import Layout, Passes, generator, last_batch, resampled, runs, whole_shards
from sclip_plugin.data.samples import Skip, captions, image_bytes
from sclip_plugin.data.shard_list import ShardList
from sclip_plugin.data.stream import Raw, SampleStream, take
from sclip_plugin.decoding import ImageFault, decode_rgb
from sclip_plugin.errors import DataError
from sclip_plugin.keywords import Vocabulary


@dataclass
class Source:
    """One data set: its shards, the samples in each (None: unknown), and how many samples count as the set."""

    shards: ShardList
    sizes: np.ndarray | None
    num_samples: int | None = None

    @property
    def total(self) -> int | None:
        """Samples in the set, as far as they are known."""
        return self.num_samples if self.sizes is None else int(self.sizes.sum())


@dataclass
class MixedConfig:
    """What a mixed loader needs to know. accum: micro-batches per optimizer step; a global batch is W·B·accum pairs.
    draft: the smallest side of a JPEG's draft (`decoding.decode_rgb`), or None."""

    paired: Source
    unpaired: Source
    batch_size: int
    unpaired_batch_size: int
    accum: int = 1
    rank: int = 0
    world_size: int = 1
    seed: int = 0
    resampled: bool = False
    draft: int | None = None

    @property
    def global_batch(self) -> int:
        """Pairs per optimizer step, W·B·accum."""
        return self.world_size * self.batch_size * self.accum

    @property
    def epoch_samples(self) -> int:
        """Pairs that an epoch asks for: the number given, else the whole set."""
        return self.paired.num_samples or self.paired.total

    @property
    def steps(self) -> int:
        """Micro-steps per epoch, S: ceil(N / global batch) whole optimizer steps, whatever the workers."""
        return -(-self.epoch_samples // self.global_batch) * self.accum


class SharedEpoch:
    """The epoch's number, seen by the loader's workers too."""

    def __init__(self, epoch: int = 0):
        self._value = Value("i", epoch)

    def set_value(self, epoch: int) -> None:
        """Set the number of the epoch that the next iteration reads."""
        self._value.value = epoch

    def get_value(self) -> int:
        """The number of the epoch."""
        return self._value.value


class MixedDataset(IterableDataset):
    """Gives this slot's `MixedBatch`es of the epoch in `epoch`; see `data.order` for who reads what.

    Crops, captions and orders are a function of seed, layout and epoch (with workers; without, the transform draws from
    the process's own generators).
    """

    def __init__(
        self,
        config: MixedConfig,
        transform: Callable,
        tokenizer: Callable,
        vocabulary: Vocabulary | None = None,
        epoch: SharedEpoch | None = None,
    ):
        super().__init__()
        self.config, self.transform, self.tokenizer, self.vocabulary = config, transform, tokenizer, vocabulary
        self.epoch = epoch or SharedEpoch()

    def __iter__(self) -> Iterator[MixedBatch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        slot = _Slot(self, self.epoch.get_value(), worker, workers)
        if info:
            slot.seed_transforms()
        try:
            yield from slot.batches()
        except DataError as error:
            yield MixedBatch(error=str(error))

    def collate(self, pairs: list, images: list, counts: Counter) -> MixedBatch:
        """One batch of decoded (image, caption) pairs and unpaired images, stacked and tokenised once."""
        # in a worker this stacks into shared memory, from which the batch is handed over without another copy
        pixels = default_collate([image for image, _ in pairs] + images)
        texts = [caption for _, caption in pairs]
        candidates = None
        if self.vocabulary is not None:
            candidates = torch.zeros(len(texts), len(self.vocabulary), dtype=torch.bool)
            for row, text in enumerate(texts):
                candidates[row, self.vocabulary.indices(text)] = True
        batch = MixedBatch(MixedImages(pixels, len(pairs)), MixedTexts(self.tokenizer(texts), candidates))
        batch.counts.update(counts)
        if candidates is not None:
            batch.counts["paired: without keyword"] += int((~candidates.any(dim=1)).sum())
        return batch


class _Slot:
    """One worker of one rank in one epoch."""

    def __init__(self, dataset: MixedDataset, epoch: int, worker: int, workers: int):
        self.dataset, self.config, self.epoch = dataset, dataset.config, epoch
        config = self.config
        self.paired = Layout(config.rank, config.world_size, worker, workers, config.steps, config.batch_size)
        self.unpaired = Layout(
            config.rank, config.world_size, worker, workers, config.steps, config.unpaired_batch_size
        )
        self.key = (config.seed, epoch, config.rank, worker, workers)
        self.caption_rng = generator("captions", *self.key)
        self.counts: Counter = Counter()

    def seed_transforms(self) -> None:
        """Seed the generators that crops and flips draw from in this worker's process."""
        seed = generator("transforms", *self.key).getrandbits(32)
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)

    def batches(self) -> Iterator[MixedBatch]:
        """This slot's batches of the epoch, in the order of its steps."""
        pairs = self._pairs()
        images = self._stream("unpaired", self.config.unpaired, self._decode_image)
        images = self._samples(images, self.config.unpaired, self.unpaired, self._unpaired_window())
        for batch in pairs:
            drawn = list(islice(images, self.config.unpaired_batch_size))
            yield self.dataset.collate([pair for _, pair in batch], [image for _, image in drawn], self.counts)
            self.counts.clear()

    def _stream(self, name: str, source: Source, decode: Callable) -> SampleStream:
        return SampleStream(source.shards.urls, name, decode, source.shards.flag, self.counts)

    def _decode_image(self, raw: Raw):
        try:
            picture = decode_rgb(image_bytes(raw.members), self.config.draft)
        except ImageFault as fault:
            raise Skip(str(fault)) from None
        return self.dataset.transform(picture)

    def _decode_pair(self, raw: Raw):
        caption = self.caption_rng.choice(captions(raw.members))
        return self._decode_image(raw), caption

    def _pairs(self) -> Iterator[list]:
        """The paired half of each of this slot's batches."""
        config, layout = self.config, self.paired
        stream = self._stream("paired", config.paired, self._decode_pair)
        if config.resampled or config.paired.sizes is None:
            samples = self._samples(stream, config.paired, layout, None)
            for _ in range(layout.own_steps()):
                yield take(samples, layout.batch)
            return
        main_steps = config.steps - config.accum
        passes = Passes(config.paired.sizes, config.seed, "paired")
        start = self.epoch * config.epoch_samples
        mine = start + layout.start(main_steps)
        window = passes.window(mine, mine + layout.own_steps(main_steps) * layout.batch)
        samples = self._samples(stream, config.paired, layout, window)
        for _ in range(layout.own_steps(main_steps)):
            yield take(samples, layout.batch)
        yield from self._last_pairs(stream, samples, passes, start, main_steps)

    def _last_pairs(self, stream, samples, passes: Passes, start: int, main_steps: int) -> Iterator[list]:
        """This slot's part of the epoch's last global batch: the rest of the pass, filled from the next order."""
        config, layout = self.config, self.paired
        steps = [step for step in range(main_steps, config.steps) if step % layout.num_workers == layout.worker]
        if not steps:
            return
        done = main_steps * config.world_size * config.batch_size
        last = last_batch(passes, start + done, config.epoch_samples - done, config.global_batch)
        for step in steps:
            first = ((step - main_steps) * config.world_size + config.rank) * layout.batch
            block = stream.decoded(stream.raw(runs(last[first : first + layout.batch])))
            yield take(chain(block, samples), layout.batch)

    def _unpaired_window(self):
        """Segments of the endless unpaired sequence that this slot reads in this epoch; None: sizes unknown."""
        config, layout = self.config, self.unpaired
        if config.resampled or config.unpaired.sizes is None:
            return None
        passes = Passes(config.unpaired.sizes, config.seed, "unpaired")
        epoch_start = self.epoch * config.steps * config.world_size * layout.batch
        mine = epoch_start + layout.start()
        return passes.window(mine, mine + layout.own_steps() * layout.batch)

    def _samples(self, stream: SampleStream, source: Source, layout: Layout, window):
        """The window's samples, then more where some of them were unusable; without a window, shards for ever."""
        config, shards = self.config, len(source.shards)
        rng = generator("samples", stream.name, *self.key)

        def drawn(number):
            return resampled(shards, source.shards.weights, layout, "drawn", stream.name, *self.key, number)

        def divided(number):
            return whole_shards(shards, layout, config.seed, stream.name, self._first_pass(source, layout) + number)

        def replacements(number):
            passes = Passes(source.sizes, config.seed, stream.name)
            start = (self.epoch + 1 + number) * passes.total + layout.slot * passes.total // layout.slots
            return passes.window(start, start + passes.total)

        if window is not None:
            return stream.window(window, replacements, rng)
        return stream.endless(drawn if config.resampled else divided, rng)

    def _first_pass(self, source: Source, layout: Layout) -> int:
        """Where sizes are unknown an epoch starts with a new order: the one that as many samples would have reached."""
        if not source.num_samples:
            return self.epoch
        read = self.epoch * self.config.steps * self.config.world_size * layout.batch
        return max(self.epoch, read // source.num_samples)


class MixedLoader:
    """Iterates (MixedImages, MixedTexts); one iteration is one epoch of exactly `num_batches` micro-steps.

    Attributes:
        num_batches: S. num_samples: pairs that an epoch draws, S·W·B, as open_clip counts them.
        counts: outcomes of the samples read on this rank, `"paired: read"`, `"unpaired: undecodable image"`, ….
        shared_epoch: set its value before each iteration.

    Raises (while iterating):
        DataError: a whole pass over a set held no usable sample.
    """

    def __init__(self, config: MixedConfig, transform, tokenizer, vocabulary=None, *, workers=0, pin_memory=False):
        self.config = config
        self.shared_epoch = SharedEpoch()
        self.dataset = MixedDataset(config, transform, tokenizer, vocabulary, self.shared_epoch)
        self.num_batches = config.steps
        self.num_samples = config.steps * config.world_size * config.batch_size
        self.counts: Counter = Counter()
        self._loader = DataLoader(
            self.dataset,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin_memory,
        )

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self):
        for batch in self._loader:
            if batch.error:
                raise DataError(batch.error)
            self.counts.update(batch.counts)
            yield batch.images, batch.texts
