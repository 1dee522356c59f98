"""The data of a run: shards expanded and counted, and refused where they cannot make a batch."""

from sclip_plugin.data.config import MixedConfig
from sclip_plugin.data.shard_list import ShardSet, expand
from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.training.arguments import DataArguments, TrainingArguments


def mixed_config(arguments: TrainingArguments, world_size: int) -> MixedConfig:
    """What the mixed loader of a run needs to know; the rank is set later.

    Raises:
        DataError: shards that are missing or empty, or fewer pairs than one global batch.
        UsageError: a number of samples that is missing, or that contradicts the shards.
    """
    config = MixedConfig(
        paired=_shard_set(arguments.paired),
        unpaired=None if arguments.unpaired is None else _unpaired_set(arguments.unpaired),
        batch_size=arguments.batch_size,
        unpaired_batch_size=arguments.unpaired_batch_size,
        accum=arguments.accum_freq,
        world_size=world_size,
        seed=arguments.seed,
        resampled=arguments.resampled,
    )
    paired = config.paired
    if not (paired.num_samples or paired.total):
        raise UsageError(f"--train-data: the number of pairs is not known ({paired.unknown}); give --train-num-samples")
    if arguments.teacher is not None:
        for source in (paired, config.unpaired):
            if source is not None and source.sizes is None:
                raise UsageError(
                    f"{source.shards.flag}: --sclip-teacher start needs the sizes of the shards ({source.unknown})"
                )
    available = min(config.epoch_samples, paired.total or config.epoch_samples)
    if available < config.global_batch:
        raise DataError(
            f"--train-data holds {available} pairs, fewer than one global batch of {config.global_batch} "
            f"(--batch-size {config.batch_size} × {world_size} processes × --accum-freq {config.accum})"
        )
    return config


def _shard_set(data: DataArguments) -> ShardSet:
    shards = expand(data.pattern, data.flag, data.factors, data.factors_flag)
    found = ShardSet.of(shards, data.num_samples)
    if found.sizes is not None and not found.sizes.sum():
        raise DataError(f"{data.flag}: {len(shards)} shards without a single sample (from {shards.pattern!r})")
    return found


def _unpaired_set(data: DataArguments) -> ShardSet:
    found = _shard_set(data)
    if found.sizes is not None and data.num_samples not in (None, found.total):
        raise UsageError(
            f"--unpaired-num-samples {data.num_samples}: the shards hold {found.total}; the flag is for shards of "
            "unknown size"
        )
    return found
