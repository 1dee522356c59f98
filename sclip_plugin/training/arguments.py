"""What a training run of the plugin reads of the host's arguments: once, as values with types.

`open_clip_train` keeps its arguments in one namespace of about a hundred names. `TrainingArguments.of` is the only
place that reads it after `options.check` has checked and completed it; everything behind it takes these values.
"""

import argparse
from dataclasses import dataclass

from sclip_plugin.loss.settings import LossSettings
from sclip_plugin.teacher.settings import TeacherSettings
from sclip_plugin.training.lora import LoraSettings, lora_settings
from sclip_plugin.training.recipe import teacher_settings, unpaired_negatives


@dataclass(frozen=True)
class DataArguments:
    """What the command line says of one data set.

    Attributes:
        flag: the option that names the shards, for messages.
        pattern: its value.
        factors_flag: the option that weighs the sources of the pattern, for messages.
        factors: its value, one number for each `::` source; None: they count alike.
        num_samples: how many samples the user says there are; None: nothing.
    """

    flag: str
    pattern: str
    factors_flag: str
    factors: str | None
    num_samples: int | None


@dataclass(frozen=True)
class TrainingArguments:
    """The arguments of a run, as far as the plugin needs them.

    Attributes:
        supervised: whether the run trains open_clip's own loss on the pairs alone (`--loss clip`), as the baseline.
        paired: the images with captions.
        unpaired: the images without; None in a supervised run, and where only the pairs' own keywords are learned.
        val_data: the host's validation data, or a retrieval set; None: neither.
        zeroshot_data: folder of each classification set by its name.
        keywords: the keyword file; None: no keyword level.
        keyword_template: prompt around each keyword, with `{}` for the keyword.
        loss: the options of the S-CLIP loss, which a supervised run does not use.
        teacher: how the start model labels the unpaired images before training; None: it does not (paper).
        lora: how low-rank updates are trained in place of all weights; None: they are not.
        draft_jpeg: whether large JPEGs are decoded at a fraction of their size.
        fast_resize: whether crops are resized by PyTorch.
        batch_size: pairs per rank and micro-step, B.
        unpaired_batch_size: unpaired images per rank and micro-step, U.
        accum_freq: micro-steps per optimizer step.
        resampled: whether shards are drawn with replacement.
        seed: of all draws.
        workers: processes of each rank that read data.
        epochs: passes over the pairs.
        warmup: optimizer steps until the learning rate has reached `lr`.
        lr: the learning rate.
        scheduled: whether the learning rate follows a schedule at all.
        local_loss: whether a rank computes its own rows of the loss only.
        gather_with_grad: whether gradients flow back through the gathering of features.
        precision: one of `evaluation.names.PRECISIONS`.
        log_every: optimizer steps from one logged step to the next.
        zeroshot_frequency: epochs from one zero-shot evaluation to the next; 0: never.
        val_frequency: the same for `val_data`.
        wandb: whether the run reports to Weights & Biases.
    """

    supervised: bool
    paired: DataArguments
    unpaired: DataArguments | None
    val_data: str | None
    zeroshot_data: dict[str, str]
    keywords: str | None
    keyword_template: str
    loss: LossSettings
    teacher: TeacherSettings | None
    lora: LoraSettings | None
    draft_jpeg: bool
    fast_resize: bool
    batch_size: int
    unpaired_batch_size: int
    accum_freq: int
    resampled: bool
    seed: int
    workers: int
    epochs: int
    warmup: int
    lr: float
    scheduled: bool
    local_loss: bool
    gather_with_grad: bool
    precision: str
    log_every: int
    zeroshot_frequency: int
    val_frequency: int
    wandb: bool

    @classmethod
    def of(cls, args: argparse.Namespace) -> "TrainingArguments":
        """The values of a namespace that `options.check` has completed."""
        supervised = args.loss == "clip"
        return cls(
            supervised=supervised,
            paired=DataArguments(
                "--train-data",
                args.train_data,
                "--train-data-upsampling-factors",
                args.train_data_upsampling_factors,
                args.train_num_samples,
            ),
            unpaired=None if supervised or not args.unpaired_data else _unpaired(args),
            val_data=args.val_data,
            zeroshot_data=args.zeroshot_data,
            keywords=args.keywords,
            keyword_template=args.keyword_template or "{}",
            loss=LossSettings() if supervised else _loss_settings(args),
            teacher=None if supervised else teacher_settings(args),
            lora=lora_settings(args),
            draft_jpeg=bool(args.sclip_draft_jpeg),
            fast_resize=bool(args.sclip_fast_resize),
            batch_size=args.batch_size,
            unpaired_batch_size=0 if supervised else args.unpaired_batch_size,
            accum_freq=args.accum_freq,
            resampled=args.dataset_resampled,
            seed=args.seed,
            workers=args.workers,
            epochs=args.epochs,
            warmup=args.warmup,
            lr=args.lr,
            scheduled=not args.skip_scheduler,
            local_loss=args.local_loss,
            gather_with_grad=args.gather_with_grad,
            precision=args.precision,
            log_every=args.log_every_n_steps,
            zeroshot_frequency=args.zeroshot_frequency,
            val_frequency=args.val_frequency,
            wandb="wandb" in args.report_to or "all" in args.report_to,  # as the host reads it
        )


def _unpaired(args: argparse.Namespace) -> DataArguments:
    return DataArguments(
        "--unpaired-data",
        args.unpaired_data,
        "--unpaired-upsampling-factors",
        args.unpaired_upsampling_factors,
        args.unpaired_num_samples,
    )


def _loss_settings(args: argparse.Namespace) -> LossSettings:
    return LossSettings(
        pseudo_label=args.sclip_pseudo_label,
        sinkhorn_iterations=args.sclip_sinkhorn_iterations,
        epsilon=args.sclip_epsilon,
        caption_weight=args.sclip_caption_weight,
        keyword_weight=args.sclip_keyword_weight,
        keyword_targets=args.sclip_keyword_targets,
        pair_keyword_weight=args.sclip_pair_keyword_weight,
        candidates=args.sclip_candidates or LossSettings.candidates,
        unpaired_negatives=unpaired_negatives(args),
    )


@dataclass(frozen=True)
class Place:
    """Where this process stands, which the host knows once its processes have met.

    Attributes:
        rank: number of this process.
        world_size: number of processes, W.
        device: where the model is, `cuda:0` say.
    """

    rank: int
    world_size: int
    device: str

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Place":
        """The place that the host has noted in its arguments."""
        return cls(args.rank, args.world_size, str(args.device))
