"""One training run of the plugin, stage by stage, as a host drives it.

With `--loss sclip` it trains the S-CLIP loss. With `--loss clip` it is the supervised baseline: open_clip's own model,
loss and loop on the very pairs, captions and crops that the S-CLIP run of the same seed sees.

The order of the calls: `prepare` (before any model is loaded), `placed`, `adapt_model`, `label_images`, `add_adapters`,
`build_loader`, `announce`, `evaluation_sets`, `build_loss`, and for the start model `evaluate` and `validated`; then
for each epoch `start_of_epoch`, `end_of_epoch`, `show_panel`, `evaluate` and `validated`. A host module
(`sclip_plugin.host`) makes them; nothing here knows how the host's command is built.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from sclip_plugin.data.config import MixedConfig
from sclip_plugin.data.mixed import MixedLoader
from sclip_plugin.data.order import generator
from sclip_plugin.data.resizing import with_fast_resize
from sclip_plugin.decoding import draft_side
from sclip_plugin.diagnostics.recorder import Recorder, Sink
from sclip_plugin.diagnostics.signs import Signs
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.during_training import EvaluationSets
from sclip_plugin.evaluation.features import Encoder
from sclip_plugin.evaluation.names import VALIDATION_LOSS
from sclip_plugin.evaluation.sets import is_retrieval_set
from sclip_plugin.inspection.epoch_panel import SHOWN, EpochPanel
from sclip_plugin.keywords import Vocabulary
from sclip_plugin.loss.sclip_loss import SClipLoss
from sclip_plugin.storage.urls import LOCAL, is_url, scheme
from sclip_plugin.teacher.labels import StartLabels
from sclip_plugin.training import adapters, messages
from sclip_plugin.training.arguments import Place, TrainingArguments
from sclip_plugin.training.before_after import BeforeAfter
from sclip_plugin.training.checkpoints import ADAPTERS, Resumed, adapters_entry
from sclip_plugin.training.datasets import mixed_config
from sclip_plugin.training.keyword_tokens import keyword_tokens
from sclip_plugin.training.model import adapt
from sclip_plugin.training.teaching import caption_features, start_labels

Transform = Callable[[Any], Any]  # PIL image → tensor


class SummaryWriter(Protocol):
    """As much of TensorBoard's writer as a run needs."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Write one number."""

    def add_image(self, tag: str, img_tensor: np.ndarray, global_step: int, dataformats: str) -> None:
        """Write one picture."""

    def add_text(self, tag: str, text_string: str, global_step: int) -> None:
        """Write one text in Markdown."""


class TrainingRun:
    """One training run with `--loss sclip`, or with `--loss clip` as its baseline.

    Attributes:
        arguments: what the user asked for.
        config: the data.
        vocabulary: the keywords; None without a keyword level.
        place: where this process stands, once the host has told it.
        measures: what the evaluations have given so far, on the first rank; a host that resumes adds the earlier ones.
    """

    def __init__(self, arguments: TrainingArguments, config: MixedConfig, vocabulary: Vocabulary | None = None):
        self.arguments, self.config, self.vocabulary = arguments, config, vocabulary
        self.place = Place(rank=0, world_size=1, device="cpu")
        self.measures = BeforeAfter()
        self._labels: StartLabels | None = None  # the start model's, where it is the teacher
        self._tokenizer: Any = None
        self._loss: SClipLoss | None = None
        self._recorder: Recorder | None = None  # observes the loss; made with it
        self._panel: EpochPanel | None = None  # draws the image panel; made with the loader
        self._tb_writer: SummaryWriter | None = None
        self._adapted: nn.Module | None = None  # the model, where low-rank updates are trained

    @classmethod
    def prepare(cls, arguments: TrainingArguments, world_size: int) -> "TrainingRun":
        """Look at all files that the arguments name, before any model is loaded.

        Raises:
            UsageError, DataError: something cannot work; one line that names the flag or file.
        """
        vocabulary = Vocabulary.load(arguments.keywords) if arguments.keywords else None
        run = cls(arguments, mixed_config(arguments, world_size), vocabulary)
        sets = run.evaluation_sets()
        sets.check()
        val_data = arguments.val_data
        if val_data and os.path.isdir(val_data) and not sets.retrieval:
            raise DataError(f"--val-data {val_data}: a folder must be a retrieval set (dataset_type.txt: retrieval)")
        if val_data and not sets.retrieval:
            _refuse_unknown_to_host(val_data)
        return run

    def placed(self, place: Place) -> None:
        """Take note of where this process stands, which decides its part of the data and of the loss."""
        self.place = place
        self.config = replace(self.config, rank=place.rank, world_size=place.world_size)

    def adapt_model(self, model: nn.Module, tokenizer: Any) -> None:
        """Extend the model in place; tokenise the keywords. A supervised run leaves the model as it is.

        Raises:
            DataError: a keyword is longer than the model's context.
        """
        arguments, tokens = self.arguments, None
        if arguments.supervised:
            return
        if self.vocabulary is not None:
            tokens = keyword_tokens(
                self.vocabulary, arguments.keyword_template, tokenizer, arguments.keywords or "keywords"
            )
        adapt(model, tokens, self.place.rank, self.place.world_size, arguments.accum_freq)

    def label_images(
        self, model: nn.Module, tokenizer: Any, preprocess: Transform, written: Path | None, resumed: Path | None
    ) -> None:
        """Let the start model label the unpaired images, where it is the teacher. On every rank, before training.

        Args:
            model: the start model, on its device.
            tokenizer: texts → tokens.
            preprocess: the validation transform.
            written: where the labels are kept; None: nowhere.
            resumed: where they are read, in a run that goes on; None: they are made.

        Raises:
            DataError: too few usable pairs, or a file that cannot be read or written.
        """
        arguments, self._tokenizer = self.arguments, tokenizer
        if arguments.teacher is None:
            return
        self._labels = start_labels(
            arguments.teacher,
            self.config,
            self.place,
            Encoder(model, tokenizer, self.place.device, arguments.precision),
            preprocess,
            arguments.workers,
            self.vocabulary,
            written=written,
            resumed=resumed,
        )

    def add_adapters(self, model: nn.Module, tokenizer: Any, resumed: Resumed | None = None) -> None:
        """Let low-rank updates of the model be trained in place of its weights, where the arguments say so.

        On every rank, after all that the start model is asked for.

        Args:
            model: the start model, on its device.
            tokenizer: texts → tokens.
            resumed: the checkpoint that the run goes on from; None without one.

        Raises:
            UsageError, DataError: a model that cannot be adapted, or a checkpoint of another start model.
        """
        settings = self.arguments.lora
        if settings is None:
            return
        encoder = Encoder(model, tokenizer, self.place.device, self.arguments.precision)
        adapters.add_adapters(model, settings, encoder, self.arguments.seed)
        if resumed is not None and resumed.adapters is not None:
            adapters.restore_adapters(model, resumed.adapters["weights"], resumed.weights(), resumed.path)
        self._adapted = model
        if self.place.rank == 0:
            logging.info(f"sclip_plugin: {adapters.told(model, settings)}")

    def keep_adapters(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimizer's state dict hold the adapters, which the merged weights of a checkpoint do not tell."""
        model, settings = self._adapted, self.arguments.lora
        if model is None or settings is None:
            return

        def hook(_optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
            state[ADAPTERS] = adapters_entry(settings, adapters.adapter_weights(model))

        optimizer.register_state_dict_post_hook(hook)

    def remember_captions(self, model: nn.Module, epoch: int) -> None:
        """Before the epoch numbered `epoch`: the loss learns of the captions of all pairs, where it draws from them."""
        if self._labels is None or self._loss is None:
            return
        encoder = Encoder(
            getattr(model, "_orig_mod", model), self._tokenizer, self.place.device, self.arguments.precision
        )
        captions = caption_features(self._labels, encoder, self.arguments.seed, epoch, self.place)
        candidates = None
        if self.vocabulary is not None:
            candidates = self.vocabulary.held_by(self._labels.captions).to(captions.device)
        self._loss.remember(captions, candidates)

    def build_loss(self) -> SClipLoss | None:
        """The loss that the arguments describe, observed for diagnostics; None: the host's own (a supervised run)."""
        if self.arguments.supervised:
            return None
        loss = SClipLoss(
            local_loss=self.arguments.local_loss,
            gather_with_grad=self.arguments.gather_with_grad,
            cache_labels=True,
            rank=self.place.rank,
            world_size=self.place.world_size,
            **asdict(self.arguments.loss),
        )
        loss.observer = self._recorder = self._make_recorder()
        self._loss = loss
        return loss

    def _make_recorder(self) -> Recorder:
        arguments, config = self.arguments, self.config
        return Recorder(
            Signs(arguments.loss.pseudo_label, self.vocabulary or (), arguments.keywords or ""),
            steps=config.steps // config.accum,
            every=arguments.log_every,
            accum=config.accum,
            rank=self.place.rank,
            world_size=self.place.world_size if arguments.local_loss else 1,
        )

    def build_loader(
        self, transform: Transform, tokenizer: Any, evaluation_transform: Transform | None = None
    ) -> MixedLoader:
        """The training loader of this rank.

        Args:
            transform: the host's training transform.
            tokenizer: texts → tokens.
            evaluation_transform: the host's validation transform, for the image panel; None: no panel is drawn.

        Raises:
            UsageError: drafts of JPEGs or fast resizing are asked for with a transform that has no random resized crop.
        """
        if self.arguments.draft_jpeg:
            self.config = replace(self.config, draft=draft_side(transform))
        if self.arguments.fast_resize:
            transform = with_fast_resize(transform)
        if evaluation_transform is not None:
            self._panel = self._make_panel(self.config, evaluation_transform, tokenizer)
        return MixedLoader(
            self.config,
            transform,
            tokenizer,
            self.vocabulary,
            labels=self._labels,
            workers=self.arguments.workers,
            pin_memory=self.place.device.startswith("cuda"),
        )

    def _make_panel(self, config: MixedConfig, preprocess: Transform, tokenizer: Any) -> EpochPanel | None:
        arguments = self.arguments
        if config.unpaired is None:
            return None
        if arguments.teacher is not None:  # its labels stay as they are: `start_of_epoch` shows them once
            return None
        ranks = config.world_size * config.accum
        return EpochPanel(
            paired=config.paired.shards,
            unpaired=config.unpaired.shards,
            pairs=config.batch_size * ranks,
            images=config.unpaired_batch_size * ranks,
            settings=arguments.loss,
            vocabulary=self.vocabulary,
            keyword_template=arguments.keyword_template,
            preprocess=preprocess,
            tokenizer=tokenizer,
            device=self.place.device,
            precision=arguments.precision,
            batch_size=arguments.batch_size,
        )

    def announce(self, route: str, warnings: Sequence[str] = ()) -> None:
        """Say on the first rank that the plugin is at work, by which route, and what is likely to go wrong.

        Args:
            route: how the plugin was activated.
            warnings: what the host has to say of the start model.
        """
        if self.place.rank == 0:
            for warning in warnings:
                logging.warning(f"sclip_plugin: {warning}")
        messages.announce(route, self.arguments, self.config, len(self.vocabulary or ()), self.place)

    def evaluation_sets(self, transform: Transform | None = None, tokenizer: Any = None) -> EvaluationSets:
        """The evaluation sets that the arguments name; false where there are none.

        Args:
            transform: the host's validation transform; needed to evaluate.
            tokenizer: texts → tokens; needed to evaluate.
        """
        arguments = self.arguments
        return EvaluationSets(
            zeroshot=arguments.zeroshot_data,
            retrieval=arguments.val_data if is_retrieval_set(arguments.val_data) else None,
            preprocess=transform,
            tokenizer=tokenizer,
            zeroshot_frequency=arguments.zeroshot_frequency,
            val_frequency=arguments.val_frequency,
        )

    def start_of_epoch(self, epoch: int, tb_writer: SummaryWriter | None = None) -> None:
        """Begin to observe the epoch numbered `epoch` (the first is 0); figures go where the host's own go.

        Args:
            epoch: number of the epoch.
            tb_writer: TensorBoard's writer on the rank that has one.
        """
        self._tb_writer = tb_writer
        lora = self.arguments.lora
        if lora is not None and lora.dropout:  # so that a run that goes on drops what an unbroken one drops
            draw = generator("adapters' dropout", self.arguments.seed, epoch, self.place.rank)
            torch.manual_seed(draw.getrandbits(32))
        if tb_writer is not None and self._labels is not None and epoch == 0:
            self._show_labels(tb_writer, self._labels)
        sinks: list[Sink] = []
        if tb_writer is not None:
            sinks.append(_tensorboard_sink(tb_writer))
        if self.arguments.wandb and self.place.rank == 0:
            sinks.append(_wandb_sink())
        if self._recorder is not None:
            self._recorder.start_epoch(epoch, sinks)

    def _show_labels(self, tb_writer: SummaryWriter, labels: StartLabels) -> None:
        """The start model's labels to TensorBoard, and how far they are trusted."""
        from sclip_plugin.inspection import panel  # matplotlib, which a run without TensorBoard does not need
        from sclip_plugin.teacher import trust_picture
        from sclip_plugin.teacher.panel import labelled_images

        paired, unpaired, candidates = self.config.paired, self.config.unpaired, self.arguments.loss.candidates
        assert unpaired is not None, "there are labels of them"
        try:
            shown, figures = labelled_images(labels, paired, unpaired, SHOWN, self.vocabulary, candidates)
        except DataError as error:
            logging.warning(f"sclip_plugin: no image panel: {error}")
            return
        picture = panel.pixels(panel.draw(shown, "the start model's labels", figures))
        tb_writer.add_image("sclip/panel", picture, 0, dataformats="HWC")
        if labels.calibration is not None:
            curve = panel.pixels(trust_picture.draw(labels.calibration, labels.trusts()))
            tb_writer.add_image("sclip/trust curve", curve, 0, dataformats="HWC")

    def end_of_epoch(self, loader: MixedLoader) -> None:
        """Log what all ranks read and skipped in the epoch."""
        counts = _over_ranks(loader.counts, self.place.world_size)
        loader.counts = Counter()
        if self.place.rank == 0:
            messages.report_counts(counts, self.arguments.keywords if self.vocabulary is not None else None)

    def show_panel(self, model: nn.Module, epoch: int) -> None:
        """After `epoch` epochs, the image panel to TensorBoard, on the rank that writes it."""
        if self._tb_writer is not None and self._panel is not None:
            picture = self._panel.draw(model, epoch)
            if picture is not None:
                self._tb_writer.add_image("sclip/panel", picture, epoch, dataformats="HWC")

    def evaluate(self, sets: EvaluationSets, model: nn.Module, epoch: int) -> dict[str, float]:
        """Metrics of the sets that are due after `epoch` epochs; logged. For the first rank."""
        metrics = sets.evaluate(
            getattr(model, "_orig_mod", model),
            epoch,
            epoch == self.arguments.epochs,
            device=self.place.device,
            batch_size=self.arguments.batch_size,
            workers=self.arguments.workers,
            precision=self.arguments.precision,
        )
        if metrics:
            listed = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            when = f"after epoch {epoch}" if epoch else "of the start model"
            logging.info(f"sclip_plugin: evaluation {when}: {listed}")
        return metrics

    def validated(self, metrics: dict[str, float], epoch: int) -> None:
        """Look at all that an evaluation after `epoch` epochs gave, the host's own included. For the first rank.

        After the last epoch the log, and TensorBoard, get a table from the start model to the trained one.
        """
        self.measures.add(epoch, metrics)
        if self._recorder is not None and epoch:
            self._recorder.validated(epoch, metrics.get(VALIDATION_LOSS))
        table = self.measures.table(epoch) if epoch == self.arguments.epochs else ""
        if table:
            logging.info(f"sclip_plugin: before and after training (shares in percent)\n{table}")
            if self._tb_writer is not None:
                self._tb_writer.add_text("sclip/before and after", self.measures.markdown(epoch), epoch)


def _refuse_unknown_to_host(val_data: str) -> None:
    """Refuse shards that open_clip's own loader would be asked to read, and does not know how.

    Raises:
        DataError: it opens no such URLs.
    """
    from webdataset.gopen import gopen_schemes

    for source in val_data.split("::"):
        if is_url(source) and scheme(source) not in (*gopen_schemes, *LOCAL):
            raise DataError(
                f"--val-data {source}: no retrieval set (dataset_type.txt: retrieval), and open_clip's own loader, "
                f"which reads other validation data, opens no {scheme(source)}://"
            )


def _tensorboard_sink(writer: SummaryWriter) -> Sink:
    def sink(values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            writer.add_scalar(f"sclip/{name}", value, step)

    return sink


def _wandb_sink() -> Sink:
    import wandb

    return lambda values, step: wandb.log({f"sclip/{name}": value for name, value in values.items()}, step=step)


def _over_ranks(counts: Counter, world_size: int) -> Counter:
    if world_size == 1:
        return Counter(counts)
    from torch import distributed as dist

    everybody: list[dict[str, int]] = [{} for _ in range(world_size)]
    dist.all_gather_object(everybody, dict(counts))
    total: Counter = Counter()
    for part in everybody:
        total.update(part)
    return total
