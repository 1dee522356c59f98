"""A stock open_clip_train 3.x made to drive the plugin as a patched one does (`patches/`).

Its `main` imports by name `parse_args`, `create_model_and_transforms`, `create_loss`, `get_data`, `train_one_epoch`
and `evaluate`, so each is replaced in its own module before `main` imports it. Each replacement calls the original
unchanged unless the arguments say `--loss sclip`; then `sclip` gets the call, and the original with it.
"""

import argparse
import functools
import types

from wrapt import register_post_import_hook

from sclip_plugin.host.openclip3 import sclip


def install() -> None:
    """Register a hook for each module of the host whose names its `main` imports."""
    for module, patch in (
        ("open_clip", _patch_open_clip),
        ("open_clip_train.params", _patch_params),
        ("open_clip_train.data", lambda data: _divert(data, "get_data")),
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


def _divert(module, name: str) -> None:
    """With `--loss sclip` the plugin's method of this name takes the call and gets the original as `stock`."""

    @_wrap(module, name)
    def diverted(original, *args, **kwargs):
        if sclip.run is None:
            return original(*args, **kwargs)
        return getattr(sclip, name)(original, *args, **kwargs)


def _patch_params(params) -> None:
    @_wrap(params, "parse_args")
    def parse_args(original, args):
        parsers = []

        class Parser(argparse.ArgumentParser):
            def parse_args(self, args=None, namespace=None):
                sclip.add_arguments(self)
                parsers.append(self)
                return super().parse_args(args, namespace)

        stock = params.argparse
        # the function builds its parser itself; it finds ours under the name it uses
        params.argparse = types.SimpleNamespace(**{**vars(stock), "ArgumentParser": Parser})
        try:
            parsed = original(args)
        finally:
            params.argparse = stock
        sclip.check_arguments(parsers[0], parsed)
        return parsed


def _patch_open_clip(open_clip) -> None:
    @_wrap(open_clip, "create_model_and_transforms")
    def create_model_and_transforms(original, *args, **kwargs):
        created = original(*args, **kwargs)
        if sclip.run is None:
            return created
        return (sclip.adapt_model(created[0], sclip.run.args), *created[1:])

    _divert(open_clip, "create_loss")


def _patch_train(train) -> None:
    _divert(train, "train_one_epoch")
    _divert(train, "evaluate")


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
