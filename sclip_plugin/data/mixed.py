"""The mixed loader: one DataLoader whose workers give whole batches of B pairs and U unpaired images.

Without unpaired images and keywords it gives batches as open_clip's own loader does: images and tokens.

Legend: B pairs and U unpaired images per rank and micro-step, W ranks, S micro-steps per epoch, K keywords.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing import Value

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, default_collate, get_worker_info

from sclip_plugin.data.batch import MixedBatch, MixedImages, MixedTexts
from sclip_plugin.data.config import MixedConfig
from sclip_plugin.data.labels import BatchLabels, ImageLabels
from sclip_plugin.data.slot import Drawn, Slot, Transform
from sclip_plugin.data.workers import batches_until_a_death, leave_interrupts_to_the_main_process
from sclip_plugin.errors import DataError
from sclip_plugin.keywords import Vocabulary

Tokenizer = Callable[[list[str]], Tensor]  # B texts → (B, L) tokens


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

    Crops, captions and orders are a function of seed, layout and epoch.
    """

    def __init__(
        self,
        config: MixedConfig,
        transform: Transform,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary | None = None,
        epoch: SharedEpoch | None = None,
        labels: ImageLabels | None = None,
    ):
        super().__init__()
        self.config, self.transform, self.tokenizer, self.vocabulary = config, transform, tokenizer, vocabulary
        self.epoch = epoch or SharedEpoch()
        self.labels: BatchLabels | None = None
        if labels is not None:
            if config.unpaired is None:
                raise ValueError("labels are for unpaired images, and there are none")
            self.labels = BatchLabels(labels, config.paired, config.unpaired)

    def __iter__(self) -> Iterator[MixedBatch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        slot = Slot(self.config, self.transform, self.epoch.get_value(), worker, workers)
        try:
            for drawn in slot.batches():
                yield self.collate(drawn, slot.counts)
                slot.counts.clear()
        except DataError as error:
            yield MixedBatch(error=str(error))

    def collate(self, drawn: Drawn, counts: Counter) -> MixedBatch:
        """One batch of decoded (image, caption) pairs and unpaired images, stacked and tokenised once.

        Where there are neither unpaired images nor keywords the batch is two tensors, as open_clip's own loader gives.
        """
        # in a worker this stacks into shared memory, from which the batch is handed over without another copy
        pixels = default_collate([image for image, _ in drawn.pairs] + drawn.images)
        texts = [caption for _, caption in drawn.pairs]
        if self.config.unpaired is None and self.vocabulary is None:
            return MixedBatch(pixels, self.tokenizer(texts), Counter(counts))
        candidates = None
        if self.vocabulary is not None:
            candidates = torch.zeros(len(texts), len(self.vocabulary), dtype=torch.bool)
            for row, text in enumerate(texts):
                candidates[row, self.vocabulary.indices(text)] = True
        labels = self.labels.of(drawn.pair_places, drawn.image_places) if self.labels else ()
        batch = MixedBatch(MixedImages(pixels, len(texts)), MixedTexts(self.tokenizer(texts), candidates, *labels))
        batch.counts.update(counts)
        if candidates is not None:
            batch.counts["paired: without keyword"] += int((~candidates.any(dim=1)).sum())
        return batch


class MixedLoader:
    """Iterates over batches; one iteration is one epoch of exactly `num_batches` micro-steps.

    A batch is (`MixedImages`, `MixedTexts`), or without unpaired images and keywords (pixels, tokens): tensors
    (B, 3, H, W) and (B, L).

    Args:
        config: the data sets and their batches.
        transform: decoded RGB image → tensor; the same shape for every image.
        tokenizer: texts → tokens.
        vocabulary: the keywords; None: no keyword level.
        labels: what the unpaired images draw their captions from, where that is known beforehand; handed on with each
            batch.
        workers: processes that read; 0: this one.
        pin_memory: whether batches are put into page-locked memory, for CUDA.

    Attributes:
        num_batches: S.
        num_samples: pairs that an epoch draws, S·W·B, as open_clip counts them.
        counts: outcomes of the samples read on this rank, `"paired: read"`, `"unpaired: undecodable image"`, ….
        shared_epoch: set its value before each iteration.

    Raises (while iterating):
        DataError: a whole pass over a set held no usable sample.
        RuntimeError: a worker died.
    """

    def __init__(
        self,
        config: MixedConfig,
        transform: Transform,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary | None = None,
        *,
        labels: ImageLabels | None = None,
        workers: int = 0,
        pin_memory: bool = False,
    ):
        self.config = config
        self.shared_epoch = SharedEpoch()
        self.dataset = MixedDataset(config, transform, tokenizer, vocabulary, self.shared_epoch, labels)
        self.num_batches = config.steps
        self.num_samples = config.steps * config.world_size * config.batch_size
        self.counts: Counter = Counter()
        self._loader = DataLoader(
            self.dataset,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin_memory,
            worker_init_fn=leave_interrupts_to_the_main_process,
            generator=torch.Generator(),  # torch's own would be drawn from, as often as workers are started
        )

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[tuple[MixedImages | Tensor, MixedTexts | Tensor]]:
        for batch in batches_until_a_death(self._loader):
            if batch.images is None or batch.texts is None:
                raise DataError(batch.error)
            self.counts.update(batch.counts)
            yield batch.images, batch.texts
