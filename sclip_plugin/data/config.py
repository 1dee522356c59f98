"""What a mixed loader needs to know before it reads anything. Legend: W ranks, B pairs, U unpaired images."""

from dataclasses import dataclass

from sclip_plugin.data.shard_list import ShardSet


@dataclass(frozen=True)
class MixedConfig:
    """The data sets of a run, and how they are divided into batches.

    Attributes:
        paired: the images with captions.
        unpaired: the images without; None: the loader gives pairs alone, as open_clip's own does.
        batch_size: pairs per rank and micro-step, B.
        unpaired_batch_size: unpaired images per rank and micro-step, U.
        accum: micro-steps per optimizer step; a global batch is W·B·accum pairs.
        rank: this rank's number.
        world_size: W.
        seed: of all orders and draws.
        resampled: whether shards are drawn with replacement (`--dataset-resampled`).
        draft: the smallest side of a JPEG's draft (`decoding.decode_rgb`); None: every image is decoded whole.
    """

    paired: ShardSet
    unpaired: ShardSet | None
    batch_size: int
    unpaired_batch_size: int = 0
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
        """Pairs that an epoch asks for: the number that the user gave, else the whole set.

        Raises:
            ValueError: neither is known.
        """
        number = self.paired.num_samples or self.paired.total
        if not number:
            raise ValueError("the number of pairs is not known: paired.num_samples or paired.sizes must be given")
        return number

    @property
    def steps(self) -> int:
        """Micro-steps per epoch, S: ceil(N / global batch) whole optimizer steps, whatever the workers."""
        return -(-self.epoch_samples // self.global_batch) * self.accum
