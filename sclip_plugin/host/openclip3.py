"""All knowledge of open_clip_train 3.x: where its training command is met, and what its calls look like.

Its `main` imports by name `parse_args`, `create_model_and_transforms`, `create_loss`, `get_data`, `train_one_epoch`
and `evaluate`, so each is replaced in its own module before `main` imports it. Each replacement calls the original
first or instead, and does so unchanged unless the arguments say `--loss sclip`.

The plugin itself (`sclip_plugin.plugin`) knows none of this and is imported only when there is something to do.
"""

import argparse
import functools
import json
import os
import types
from contextlib import contextmanager
from typing import Any

from wrapt import register_post_import_hook

_run: Any = None  # the `plugin.Run` of this process, once the arguments are parsed; None without --loss sclip


def install() -> None:
    """Register a hook for each module of the host whose names its `main` imports."""
    for module, patch in (
        ("open_clip", _patch_open_clip),
        ("open_clip_train.params", _patch_params),
        ("open_clip_train.data", _patch_data),
        ("open_clip_train.train", _patch_train),
    ):
        register_post_import_hook(patch, module)
    _let_ddp_run_on_cpu()


def _wrap(module, name: str):
    """Decorator: replace `module.name` by a function that receives the original as its first argument."""

    def replace(function):
        original = getattr(module, name)

        @functools.wraps(original)
        def replacement(*args, **kwargs):
            return function(original, *args, **kwargs)

        setattr(module, name, replacement)
        return replacement

    return replace


@contextmanager
def _one_line_errors():
    """A user's error ends the process with its message, no traceback; torchrun then stops the other ranks."""
    from sclip_plugin.errors import SClipError

    try:
        yield
    except SClipError as error:
        raise SystemExit(f"sclip_plugin: {error}") from None


# --- arguments -------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """The host's parser with the plugin's group of flags and checks."""

    def parse_args(self, args=None, namespace=None):
        global _run
        from sclip_plugin import plugin
        from sclip_plugin.errors import SClipError

        plugin.add_arguments(self)
        parsed = super().parse_args(args, namespace)
        try:
            _run = plugin.check_arguments(parsed, world_size=_world_size())
        except SClipError as error:
            self.exit(2, f"{self.prog}: error: {error}\n")
        return parsed


def _world_size() -> int:
    from open_clip_train.distributed import world_info_from_env

    return world_info_from_env()[2]


def _patch_params(params) -> None:
    @_wrap(params, "parse_args")
    def parse_args(original, args):
        stock = params.argparse
        # the function builds its parser itself; it finds ours under the name it uses
        params.argparse = types.SimpleNamespace(**{**vars(stock), "ArgumentParser": _Parser})
        try:
            return original(args)
        finally:
            params.argparse = stock


# --- model and loss --------------------------------------------------------------------------------------------------


def _patch_open_clip(open_clip) -> None:
    @_wrap(open_clip, "create_model_and_transforms")
    def create_model_and_transforms(original, *args, **kwargs):
        created = original(*args, **kwargs)
        if _run is not None:
            wanted = _run.args
            tokenizer = open_clip.get_tokenizer(
                wanted.model, cache_dir=wanted.cache_dir, context_length=wanted.force_context_length
            )
            with _one_line_errors():
                _run.adapt_model(created[0], tokenizer)
        return created

    @_wrap(open_clip, "create_loss")
    def create_loss(original, args):
        return original(args) if _run is None else _run.build_loss()


def _let_ddp_run_on_cpu() -> None:
    """The host builds DDP with `device_ids=[cpu]`, which DDP refuses; on CPU it must be None."""
    import torch
    from torch.nn.parallel import DistributedDataParallel

    original = DistributedDataParallel.__init__

    @functools.wraps(original)
    def init(self, module, device_ids=None, *args, **kwargs):
        if device_ids and all(isinstance(d, torch.device) and d.type == "cpu" for d in device_ids):
            device_ids = None
        original(self, module, device_ids, *args, **kwargs)

    DistributedDataParallel.__init__ = init


# --- data and epochs -------------------------------------------------------------------------------------------------


def _patch_data(data) -> None:
    @_wrap(data, "get_data")
    def get_data(original, args, preprocess_fns, epoch=0, tokenizer=None):
        if _run is None:
            return original(args, preprocess_fns, epoch=epoch, tokenizer=tokenizer)
        from sclip_plugin import host

        with _one_line_errors():
            loader = _run.build_loader(preprocess_fns[0], tokenizer)
        _run.announce(host.route)
        sets = _run.evaluation_sets(preprocess_fns[1], tokenizer)
        others = types.SimpleNamespace(**{**vars(args), "train_data": None})
        if sets.retrieval:
            others.val_data = None
        found = original(others, preprocess_fns, epoch=epoch, tokenizer=tokenizer)
        found["train"] = data.DataInfo(dataloader=loader, shared_epoch=loader.shared_epoch)
        if sets:  # `main` evaluates where one of its own names is in the data
            found["sclip" if "val" in found else "val"] = sets
        return found


def _patch_train(train) -> None:
    @_wrap(train, "train_one_epoch")
    def train_one_epoch(original, model, data, *args, **kwargs):
        if _run is None:
            return original(model, data, *args, **kwargs)
        with _one_line_errors():
            result = original(model, data, *args, **kwargs)
        _run.end_of_epoch(data["train"].dataloader)
        return result

    @_wrap(train, "evaluate")
    def evaluate(original, model, data, epoch, args, tb_writer=None, tokenizer=None):
        if _run is None:
            return original(model, data, epoch, args, tb_writer=tb_writer, tokenizer=tokenizer)
        from sclip_plugin.evaluation.during_training import EvaluationSets

        ours = [entry for entry in data.values() if isinstance(entry, EvaluationSets)]
        stock = {name: entry for name, entry in data.items() if not isinstance(entry, EvaluationSets)}
        metrics = original(model, stock, epoch, args, tb_writer=tb_writer, tokenizer=tokenizer)
        if args.rank == 0:
            for sets in ours:
                with _one_line_errors():
                    found = _run.evaluate(sets, model, epoch)
                _report(found, epoch, args, tb_writer)
                metrics.update(found)
        return metrics


def _report(metrics: dict, epoch: int, args, tb_writer) -> None:
    """Where the host's own evaluation goes: TensorBoard, `results.jsonl`, wandb."""
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

        wandb.log({**{f"val/{name}": value for name, value in metrics.items()}, "epoch": epoch})
