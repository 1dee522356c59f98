"""The plugin, as any host drives it: add arguments, check them, adapt the model, build loss and data, end an epoch.

A host module (`sclip_plugin.host`) calls `add_arguments` and `check_arguments`, and the methods of the `Run` that the
latter returns; nothing here knows how the host's training command is built.
"""

import logging
import os
from collections import Counter

from sclip_plugin._version import __version__
from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.training import options

add_arguments = options.add_arguments


def check_arguments(args, world_size: int) -> "Run | None":
    """Refuse, before any model is loaded, arguments and data that cannot work; fill in defaults.

    Returns:
        The run, or None without `--loss sclip`.

    Raises:
        UsageError, DataError: one line that names the flag or file.
    """
    options.check(args)
    if args.loss != "sclip":
        return None
    from sclip_plugin import host
    from sclip_plugin.keywords import Vocabulary

    if host.unsupported():
        raise UsageError(host.unsupported())
    vocabulary = Vocabulary.load(args.keywords) if args.keywords else None
    run = Run(args, vocabulary, _data_config(args, world_size))
    sets = run.evaluation_sets()
    sets.check()
    if args.val_data and os.path.isdir(args.val_data) and not sets.retrieval:
        raise DataError(f"--val-data {args.val_data}: a folder must be a retrieval set (dataset_type.txt: retrieval)")
    return run


class Run:
    """One training run with `--loss sclip`: its arguments, vocabulary and data."""

    def __init__(self, args, vocabulary, config):
        self.args, self.vocabulary, self.config = args, vocabulary, config
        self.recorder = None  # observes the loss; made with it
        self.panel = None  # draws the image panel
        self.tb_writer = None

    def adapt_model(self, model, tokenizer) -> None:
        """Extend the model in place; tokenise the keywords.

        Raises:
            DataError: a keyword longer than the model's context.
        """
        from sclip_plugin.training.model import adapt

        tokens = None
        if self.vocabulary is not None:
            tokens = keyword_tokens(self.vocabulary, self.args.keyword_template, tokenizer, self.args.keywords)
        adapt(model, tokens, self.args.rank, self.args.world_size, self.args.accum_freq)

    def build_loss(self):
        """The `SClipLoss` that the arguments describe."""
        from sclip_plugin.loss import SClipLoss

        loss = SClipLoss(
            local_loss=self.args.local_loss,
            gather_with_grad=self.args.gather_with_grad,
            cache_labels=True,
            rank=self.args.rank,
            world_size=self.args.world_size,
            pseudo_label=self.args.sclip_pseudo_label,
            sinkhorn_iterations=self.args.sclip_sinkhorn_iterations,
            epsilon=self.args.sclip_epsilon,
            caption_weight=self.args.sclip_caption_weight,
            keyword_weight=self.args.sclip_keyword_weight,
            keyword_targets=self.args.sclip_keyword_targets,
        )
        loss.observer = self.recorder = self._recorder()
        return loss

    def _recorder(self):
        from sclip_plugin.diagnostics.recorder import Recorder
        from sclip_plugin.diagnostics.signs import Signs

        args, config = self.args, self.config
        return Recorder(
            Signs(args.sclip_pseudo_label, self.vocabulary or (), args.keywords or ""),
            steps=config.steps // config.accum,
            every=args.log_every_n_steps,
            accum=config.accum,
            rank=args.rank,
            world_size=args.world_size if args.local_loss else 1,
        )

    def start_of_epoch(self, epoch: int, tb_writer=None) -> None:
        """Begin to observe the epoch numbered `epoch` (the first is 0); figures go where the host's own go.

        Args:
            tb_writer: TensorBoard's writer on the rank that has one.
        """
        sinks, self.tb_writer = [], tb_writer
        if tb_writer is not None:
            sinks.append(lambda values, step: [tb_writer.add_scalar(f"sclip/{k}", v, step) for k, v in values.items()])
        if getattr(self.args, "wandb", False) and self.args.rank == 0:
            import wandb

            sinks.append(lambda values, step: wandb.log({f"sclip/{k}": v for k, v in values.items()}, step=step))
        self.recorder.start_epoch(epoch, sinks)

    def validated(self, metrics: dict[str, float], epoch: int) -> None:
        """Look at all that an evaluation after `epoch` epochs gave, the host's own included. For the first rank."""
        if self.recorder is not None:
            self.recorder.validated(epoch, metrics.get("clip_val_loss"))

    def build_loader(self, transform, tokenizer, evaluation_transform=None):
        """The mixed training loader of this rank; `evaluation_transform` is for the image panel."""
        from sclip_plugin.data.mixed import MixedLoader
        from sclip_plugin.data.stream import draft_side
        from sclip_plugin.inspection.epoch_panel import EpochPanel
        from sclip_plugin.loss.settings import LossSettings

        config = self.config
        config.draft = draft_side(transform) if self.args.sclip_draft_jpeg else None
        config.rank, config.world_size = self.args.rank, self.args.world_size
        if evaluation_transform is not None:
            ranks = config.world_size * config.accum
            self.panel = EpochPanel(
                paired=config.paired.shards,
                unpaired=config.unpaired.shards,
                pairs=config.batch_size * ranks,
                images=config.unpaired_batch_size * ranks,
                settings=LossSettings(
                    pseudo_label=self.args.sclip_pseudo_label,
                    sinkhorn_iterations=self.args.sclip_sinkhorn_iterations,
                    epsilon=self.args.sclip_epsilon,
                    keyword_targets=self.args.sclip_keyword_targets,
                ),
                vocabulary=self.vocabulary,
                keyword_template=self.args.keyword_template,
                preprocess=evaluation_transform,
                tokenizer=tokenizer,
                device=self.args.device,
                precision=self.args.precision,
                batch_size=self.args.batch_size,
            )
        return MixedLoader(
            config,
            transform,
            tokenizer,
            self.vocabulary,
            workers=self.args.workers,
            pin_memory=str(self.args.device).startswith("cuda"),
        )

    def announce(self, route: str) -> None:
        """Say on the first rank that the plugin is at work, and what is likely to go wrong."""
        if self.args.rank != 0:
            return
        config, keywords = self.config, self.vocabulary
        logging.info(
            f"sclip_plugin {__version__} active by {route}: B={config.batch_size} U={config.unpaired_batch_size} "
            f"K={len(keywords) if keywords else 0} pseudo-label={self.args.sclip_pseudo_label}"
        )
        logging.info(
            f"sclip_plugin: {config.steps} batches per epoch over {config.paired.total} pairs and "
            f"{config.unpaired.total or 'an unknown number of'} unpaired images"
        )
        for warning in self._warnings():
            logging.warning(f"sclip_plugin: {warning}")

    def _warnings(self):
        args, config = self.args, self.config
        steps = config.steps // config.accum * args.epochs
        if args.warmup >= steps and not args.skip_scheduler:
            yield (
                f"--warmup {args.warmup} is not over after the run's {steps} steps, so the learning rate never reaches "
                f"--lr {args.lr}; the paper warms up for 10 steps"
            )
        if str(args.device).startswith("cpu") and args.precision == "amp":
            yield "--precision amp is many times slower than fp32 on a CPU: use --precision fp32"
        for source in (config.paired, config.unpaired):
            if source.sizes is None:
                yield f"{source.shards.flag}: no sizes.json for remote shards; an epoch may read some samples twice"

    def evaluation_sets(self, transform=None, tokenizer=None):
        """The plugin's own evaluation sets, an `EvaluationSets`; false where there are none."""
        from sclip_plugin.evaluation.during_training import EvaluationSets
        from sclip_plugin.evaluation.sets import is_retrieval_set

        return EvaluationSets(
            zeroshot=self.args.zeroshot_data,
            retrieval=self.args.val_data if is_retrieval_set(self.args.val_data) else None,
            preprocess=transform,
            tokenizer=tokenizer,
            zeroshot_frequency=self.args.zeroshot_frequency,
            val_frequency=self.args.val_frequency,
        )

    def evaluate(self, sets, model, epoch: int) -> dict[str, float]:
        """Metrics of the sets that are due after `epoch` epochs; logged. For the first rank."""
        metrics = sets.evaluate(
            getattr(model, "_orig_mod", model),
            epoch,
            epoch == self.args.epochs,
            device=self.args.device,
            batch_size=self.args.batch_size,
            workers=self.args.workers,
            precision=self.args.precision,
        )
        if metrics:
            listed = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            logging.info(f"sclip_plugin: evaluation after epoch {epoch}: {listed}")
        return metrics

    def show_panel(self, model, epoch: int) -> None:
        """After `epoch` epochs, the image panel to TensorBoard, on the rank that writes it."""
        if self.tb_writer is not None and self.panel is not None:
            picture = self.panel.draw(model, epoch)
            if picture is not None:
                self.tb_writer.add_image("sclip/panel", picture, epoch, dataformats="HWC")

    def end_of_epoch(self, loader) -> None:
        """Log what was read and what was skipped, over all ranks; warn where no caption holds a keyword."""
        counts = _over_ranks(loader.counts, self.args.world_size)
        loader.counts = Counter()
        if self.args.rank != 0:
            return
        pairs, bare = counts["paired: read"], counts.pop("paired: without keyword", 0)
        skipped = {key: number for key, number in sorted(counts.items()) if not key.endswith(": read")}
        logging.info(f"sclip_plugin: read {pairs} pairs, {counts['unpaired: read']} unpaired images")
        if skipped:
            listed = ", ".join(f"{key} × {number}" for key, number in skipped.items())
            logging.warning(f"sclip_plugin: skipped samples: {listed}")
        if self.vocabulary is not None and pairs and bare * 2 > pairs:
            logging.warning(
                f"sclip_plugin: {100 * bare / pairs:.0f}% of the captions read hold none of the keywords in "
                f"{self.args.keywords}; unpaired images that resemble them learn nothing at the keyword level"
            )


def _data_config(args, world_size: int):
    from sclip_plugin.data.mixed import MixedConfig

    config = MixedConfig(
        paired=_source(args, "--train-data", args.train_data_upsampling_factors, args.train_num_samples),
        unpaired=_source(args, "--unpaired-data", args.unpaired_upsampling_factors, args.unpaired_num_samples),
        batch_size=args.batch_size,
        unpaired_batch_size=args.unpaired_batch_size,
        accum=args.accum_freq,
        world_size=world_size,
        seed=args.seed,
        resampled=args.dataset_resampled,
    )
    if not config.epoch_samples:
        raise UsageError("--train-data: remote shards without a sizes.json; give --train-num-samples")
    available = min(config.epoch_samples, config.paired.total or config.epoch_samples)
    if available < config.global_batch:
        raise DataError(
            f"--train-data holds {available} pairs, fewer than one global batch of {config.global_batch} "
            f"(--batch-size {args.batch_size} × {world_size} processes × --accum-freq {args.accum_freq})"
        )
    return config


def _source(args, flag: str, factors: str | None, num_samples: int | None):
    from sclip_plugin.data.mixed import Source
    from sclip_plugin.data.shard_list import count_samples, expand

    factors_flag = f"{flag}-upsampling-factors" if flag == "--train-data" else "--unpaired-upsampling-factors"
    shards = expand(getattr(args, options.dest(flag)), flag, factors, factors_flag)
    sizes = count_samples(shards)
    if sizes is not None and not sizes.sum():
        raise DataError(f"{flag}: {len(shards)} shards without a single sample (from {shards.pattern!r})")
    if flag == "--unpaired-data" and sizes is not None and num_samples not in (None, sizes.sum()):
        raise UsageError(
            f"--unpaired-num-samples {num_samples}: the shards hold {sizes.sum()}; the flag is for remote shards"
        )
    return Source(shards, sizes, num_samples)


def keyword_tokens(vocabulary, template: str, tokenizer, source: str):
    """LongTensor (K, L): the tokens of each keyword in its template.

    Raises:
        DataError: a keyword that does not fit into the context, naming it.
    """
    texts = [template.replace("{}", keyword) for keyword in vocabulary]
    tokens = tokenizer(texts)
    context = tokens.shape[1]
    longer = tokenizer(texts, context_length=context + 1)
    too_long = (longer != tokenizer([""], context_length=context + 1)[0, -1]).sum(dim=1) > context
    if too_long.any():
        text = texts[int(too_long.int().argmax())]
        raise DataError(f"keyword file {source}: {text!r} is longer than the model's context of {context} tokens")
    return tokens


def _over_ranks(counts: Counter, world_size: int) -> Counter:
    if world_size == 1:
        return Counter(counts)
    from torch import distributed as dist

    everybody = [None] * world_size
    dist.all_gather_object(everybody, dict(counts))
    return sum((Counter(part) for part in everybody), Counter())
