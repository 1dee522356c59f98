"""All knowledge of open_clip_train 3.x that the plugin needs: what its calls look like.

`sclip` has the shape of a training plugin of open_clip_train (`patches/`: the extension point, with each method's
contract). A patched host finds it by its entry point and drives it; in a stock one the hooks (`openclip3_hooks`) drive
the same object. `stock` is the host's function of the method's name.

The plugin itself (`sclip_plugin.training.run`) knows none of this and is imported only when there is something to do.
"""

import json
import os
import types
from contextlib import contextmanager
from typing import Any


@contextmanager
def _one_line_errors():
    """A user's error ends the process with its message, no traceback; torchrun then stops the other ranks."""
    from sclip_plugin.errors import SClipError

    try:
        yield
    except SClipError as error:
        raise SystemExit(f"sclip_plugin: {error}") from None


class _OwnSets:
    """The plugin's evaluation sets among the host's data; for wandb `main` notes the size of what is called "val"."""

    def __init__(self, sets):
        self.sets, self.dataloader = sets, types.SimpleNamespace(num_samples=None)


class TrainPlugin:
    """The plugin as open_clip_train drives it. Its `run` is None until `--loss sclip` has been checked."""

    run: Any = None  # a `plugin.Run`

    def add_arguments(self, parser) -> None:
        """Add the plugin's group of flags, and `--loss` where the host has none."""
        from sclip_plugin.training import run as plugin

        plugin.add_arguments(parser)

    def check_arguments(self, parser, args) -> None:
        """Refuse what cannot work in one line, exit status 2; complete the rest. For every `--loss`."""
        from sclip_plugin.errors import SClipError
        from sclip_plugin.training import run as plugin

        try:
            self.run = plugin.check_arguments(args, world_size=_world_size())
        except SClipError as error:
            parser.exit(2, f"{parser.prog}: error: {error}\n")

    def adapt_model(self, model, args):
        """The created model, extended in place."""
        import open_clip

        tokenizer = open_clip.get_tokenizer(
            args.model, cache_dir=args.cache_dir, context_length=args.force_context_length
        )
        with _one_line_errors():
            self.run.adapt_model(model, tokenizer)
        return model

    def get_data(self, stock, args, preprocess_fns, epoch=0, tokenizer=None) -> dict:
        """The mixed loader as "train", the host's evaluation data, and the plugin's own sets."""
        from open_clip_train.data import DataInfo

        from sclip_plugin import host

        with _one_line_errors():
            loader = self.run.build_loader(preprocess_fns[0], tokenizer, preprocess_fns[1])
        self.run.announce(host.route or host.PATCHED)
        sets = self.run.evaluation_sets(preprocess_fns[1], tokenizer)
        others = types.SimpleNamespace(**{**vars(args), "train_data": None})
        if sets.retrieval:
            others.val_data = None
        found = stock(others, preprocess_fns, epoch=epoch, tokenizer=tokenizer)
        found["train"] = DataInfo(dataloader=loader, shared_epoch=loader.shared_epoch)
        if sets:  # stock `main` evaluates where one of its own names is in the data
            found["sclip" if "val" in found else "val"] = _OwnSets(sets)
        return found

    def create_loss(self, stock, args):
        """The S-CLIP loss in place of the host's."""
        return self.run.build_loss()

    def train_one_epoch(
        self, stock, model, data, loss, epoch, optimizer, scaler, scheduler, dist_model, args, tb_writer=None
    ):
        """The host's loop, observed; then the counts of what was read, and the image panel."""
        self.run.start_of_epoch(epoch, tb_writer)
        with _one_line_errors():
            stock(model, data, loss, epoch, optimizer, scaler, scheduler, dist_model, args, tb_writer=tb_writer)
        self.run.end_of_epoch(data["train"].dataloader)
        self.run.show_panel(model, epoch + 1)

    def evaluate(self, stock, model, data, epoch, args, tb_writer=None, tokenizer=None) -> dict:
        """The host's evaluation on its own data, then the plugin's on the first rank, reported in the same places."""
        ours = [entry.sets for entry in data.values() if isinstance(entry, _OwnSets)]
        others = {name: entry for name, entry in data.items() if not isinstance(entry, _OwnSets)}
        metrics = stock(model, others, epoch, args, tb_writer=tb_writer, tokenizer=tokenizer)
        if args.rank == 0:
            for sets in ours:
                with _one_line_errors():
                    found = self.run.evaluate(sets, model, epoch)
                _report(found, epoch, args, tb_writer)
                metrics.update(found)
            self.run.validated(metrics, epoch)
        return metrics


sclip = TrainPlugin()  # one in a process: what the entry point `open_clip_train.plugins` and the hooks share


def _world_size() -> int:
    from open_clip_train.distributed import world_info_from_env

    return world_info_from_env()[2]


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
