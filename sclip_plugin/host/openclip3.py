"""All knowledge of open_clip_train 3.x that the plugin needs: what its calls look like.

`sclip` has the shape of a training plugin of open_clip_train (`patches/`: the extension point, with each method's
contract). A patched host finds it by its entry point and drives it; in a stock one the hooks (`openclip3_hooks`) drive
the same object. `stock` is the host's function of the method's name.

The run itself (`sclip_plugin.training`) knows none of this and is imported only when there is something to do.
"""

import argparse
import json
import os
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from sclip_plugin.evaluation.during_training import EvaluationSets
    from sclip_plugin.training.checkpoints import Resumed
    from sclip_plugin.training.run import SummaryWriter, TrainingRun

Stock = Callable[..., Any]  # a function of the host, which has no types
Data = dict[str, Any]  # the host's data sets by name


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """A user's error ends the process with its message and no traceback; torchrun then stops the other ranks."""
    from sclip_plugin.errors import SClipError

    try:
        yield
    except SClipError as error:
        raise SystemExit(f"sclip_plugin: {error}") from None


class _OwnSets:
    """The plugin's evaluation sets among the host's data.

    For wandb the host's `main` notes the number of samples of the data set that is called "val".
    """

    def __init__(self, sets: "EvaluationSets"):
        self.sets, self.dataloader = sets, types.SimpleNamespace(num_samples=None)


class TrainPlugin:
    """The plugin as open_clip_train drives it.

    Attributes:
        run: the run, once `--loss sclip` or `--loss clip` has been checked; None before, and without `--loss`.
        namespace: the host's arguments, in which it later notes rank and device.
        resumed: the checkpoint that the run goes on from; None without one.
    """

    run: "TrainingRun | None" = None
    resumed: "Resumed | None" = None
    namespace: argparse.Namespace = argparse.Namespace()
    _tokenizer: Any = None  # the host's, once it has given it
    _begun: "TrainingRun | None" = None  # the run whose first epoch has begun in this process

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the plugin's group of flags, and `--loss` where the host has none."""
        from sclip_plugin.training import options

        options.add_arguments(parser)

    def check_arguments(self, parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
        """Refuse what cannot work in one line, exit status 2; complete the rest. Called for every `--loss`."""
        from sclip_plugin.errors import SClipError
        from sclip_plugin.training import options

        try:
            self.run, self.namespace = None, args
            if options.check(args):
                from sclip_plugin.training.failures import tell_in_one_line

                self.run, self.resumed = _prepare(args)
                tell_in_one_line(lambda: self.run is not None)
        except SClipError as error:
            parser.exit(2, f"{parser.prog}: error: {error}\n")

    def _checked_run(self) -> "TrainingRun":
        assert self.run is not None, "called for runs of the plugin only"
        return self.run

    def adapt_model(self, model: nn.Module, args: argparse.Namespace) -> nn.Module:
        """The created model, extended in place."""
        import open_clip

        from sclip_plugin.training.arguments import Place

        tokenizer = open_clip.get_tokenizer(
            args.model, cache_dir=args.cache_dir, context_length=args.force_context_length
        )
        run = self._checked_run()
        if run.arguments.supervised:
            args.loss = "clip"  # see _prepare
        run.placed(Place.of(args))
        with _one_line_errors():
            if self.resumed is not None:
                self.resumed.check_model(model)
            run.adapt_model(model, tokenizer)
            if run.arguments.teacher is not None:
                run.label_images(model, tokenizer, _validation_transform(model), *self._label_files(args))
            run.add_adapters(model, tokenizer, self.resumed)
        return model

    def _label_files(self, args: argparse.Namespace) -> tuple[Path | None, Path | None]:
        """Where the start model's labels are written, and where they are read in a run that goes on."""
        from sclip_plugin.teacher.settings import FILE

        kept = args.logs and args.logs.lower() != "none"  # as the host decides later
        written = Path(args.checkpoint_path).parent / FILE if kept else None
        resumed = None if self.resumed is None else Path(self.resumed.path).parent.parent / FILE
        return (written if resumed is None else None), resumed

    def get_data(
        self, stock: Stock, args: argparse.Namespace, preprocess_fns: Any, epoch: int = 0, tokenizer: Any = None
    ) -> Data:
        """The mixed loader as "train", the host's evaluation data, and the plugin's own evaluation sets."""
        from open_clip_train.data import DataInfo

        from sclip_plugin import host

        run = self._checked_run()
        with _one_line_errors():
            loader = run.build_loader(preprocess_fns[0], tokenizer, preprocess_fns[1])
        run.announce(host.route or host.PATCHED, _start_model_warnings(args))
        self._tokenizer = tokenizer
        sets = run.evaluation_sets(preprocess_fns[1], tokenizer)
        others = types.SimpleNamespace(**{**vars(args), "train_data": None})
        if sets.retrieval:
            others.val_data = None
        found: Data = stock(others, preprocess_fns, epoch=epoch, tokenizer=tokenizer)
        found["train"] = DataInfo(dataloader=loader, shared_epoch=loader.shared_epoch)
        if sets:  # stock `main` evaluates where one of its own names is in the data
            found["sclip" if "val" in found else "val"] = _OwnSets(sets)
        return found

    def create_loss(self, stock: Stock, args: argparse.Namespace) -> nn.Module:
        """The S-CLIP loss in place of the host's; the host's own in a supervised run."""
        loss: nn.Module = self._checked_run().build_loss() or stock(args)
        return loss

    def train_one_epoch(
        self,
        stock: Stock,
        model: nn.Module,
        data: Data,
        loss: nn.Module,
        epoch: int,
        optimizer: Any,
        scaler: Any,
        scheduler: Any,
        dist_model: nn.Module | None,
        args: argparse.Namespace,
        tb_writer: "SummaryWriter | None" = None,
    ) -> None:
        """The host's loop, observed; then the counts of what was read, and the image panel.

        Before the first epoch the start model is evaluated, as after each epoch. A run that goes on from an epoch has
        its earlier measures on file.
        """
        run = self._checked_run()
        if run is not self._begun:
            self._begun = run
            run.keep_adapters(optimizer)
            self._begin(model, data, epoch, args, tb_writer)
        run.start_of_epoch(epoch, tb_writer)
        run.remember_captions(model, epoch)
        with _one_line_errors():
            stock(model, data, loss, epoch, optimizer, scaler, scheduler, dist_model, args, tb_writer=tb_writer)
        run.end_of_epoch(data["train"].dataloader)
        run.show_panel(model, epoch + 1)

    def _begin(
        self,
        model: nn.Module,
        data: Data,
        epoch: int,
        args: argparse.Namespace,
        tb_writer: "SummaryWriter | None",
    ) -> None:
        """Evaluate the start model, or recall what a resumed run has measured before its epoch numbered `epoch`."""
        from open_clip_train import train

        from sclip_plugin.evaluation.during_training import random_state_kept
        from sclip_plugin.host.openclip3_records import read_results

        if epoch > 0:
            if args.save_logs:
                for before, metrics in read_results(Path(args.checkpoint_path), epoch + 1).items():
                    self._checked_run().measures.add(before, metrics)
            return
        if set(data) == {"train"}:
            return
        stock = getattr(train.evaluate, "__wrapped__", train.evaluate)  # in a stock host a hook stands in its place
        with random_state_kept():
            self.evaluate(stock, model, data, 0, args, tb_writer=tb_writer, tokenizer=self._tokenizer)
        if args.distributed:  # as the host does after an epoch: the others wait for the first rank
            import torch

            torch.distributed.barrier()

    def evaluate(
        self,
        stock: Stock,
        model: nn.Module,
        data: Data,
        epoch: int,
        args: argparse.Namespace,
        tb_writer: "SummaryWriter | None" = None,
        tokenizer: Any = None,
    ) -> dict[str, float]:
        """The host's evaluation on its own data, then the plugin's on the first rank, reported in the same places."""
        run = self._checked_run()
        ours = [entry.sets for entry in data.values() if isinstance(entry, _OwnSets)]
        others = {name: entry for name, entry in data.items() if not isinstance(entry, _OwnSets)}
        metrics: dict[str, float] = stock(model, others, epoch, args, tb_writer=tb_writer, tokenizer=tokenizer)
        if args.rank == 0:
            for sets in ours:
                with _one_line_errors():
                    found = run.evaluate(sets, model, epoch)
                _report(found, epoch, args, tb_writer)
                metrics.update(found)
            run.validated(metrics, epoch)
        return metrics


sclip = TrainPlugin()  # one in a process: what the entry point `open_clip_train.plugins` and the hooks share


def _validation_transform(model: nn.Module) -> Any:
    """The transform that the host validates with, from what it noted in the model."""
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    return image_transform_v2(PreprocessCfg(**open_clip.get_model_preprocess_cfg(model)), is_train=False)


def _start_model_warnings(args: argparse.Namespace) -> list[str]:
    """What is wrong with the start model's activation: one line, or none."""
    from sclip_plugin.evaluation.activation import mismatch
    from sclip_plugin.host.openclip3_records import other_activation

    if ":" in args.model:  # the host takes such a model's own weights
        return []
    found = mismatch(args.model, args.pretrained, args.force_quick_gelu)
    found = found or other_activation(args.model, args.pretrained, args.force_quick_gelu)
    return [found] if found else []


def _prepare(args: argparse.Namespace) -> "tuple[TrainingRun, Resumed | None]":
    """The run that the arguments ask for, and the checkpoint that it goes on from.

    Raises:
        UsageError, DataError: an unsupported host, or files that cannot be used.
    """
    from open_clip_train.distributed import world_info_from_env

    from sclip_plugin import host
    from sclip_plugin.errors import UsageError
    from sclip_plugin.host.openclip3_resume import resumed
    from sclip_plugin.training.arguments import TrainingArguments
    from sclip_plugin.training.run import TrainingRun

    problem = host.unsupported()
    if problem:
        raise UsageError(problem)
    world_size = world_info_from_env()[2]
    run = TrainingRun.prepare(TrainingArguments.of(args), world_size=world_size)
    checkpoint = resumed(args, distributed=world_size > 1)
    if checkpoint is not None:
        checkpoint.check_adapters(run.arguments.lora)
    if host.patched():
        args.loss = "sclip"  # a patched host finds the plugin by this name, in a supervised run too
    return run, checkpoint


def _report(metrics: dict[str, float], epoch: int, args: argparse.Namespace, tb_writer: "SummaryWriter | None") -> None:
    """Write metrics where the host's own evaluation writes: TensorBoard, `results.jsonl`, wandb."""
    if not metrics:
        return
    if args.save_logs:
        if tb_writer is not None:
            for name, value in metrics.items():
                tb_writer.add_scalar(f"val/{name}", value, epoch)
        with open(os.path.join(args.checkpoint_path, "results.jsonl"), "a") as results:
            results.write(json.dumps({**metrics, "epoch": epoch}) + "\n")
    if args.wandb:
        import wandb

        # without a number wandb would close step 0 with the start model's measures, and refuse the loop's own figures
        step = None if epoch else 0
        wandb.log({**{f"val/{name}": value for name, value in metrics.items()}, "epoch": epoch}, step=step)
