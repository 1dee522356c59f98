"""A stock open_clip_train 3.x made to drive the plugin as a patched one does (`patches/`).

Its `main` imports by name `parse_args`, `create_model_and_transforms`, `create_loss`, `get_data`, `train_one_epoch`
and `evaluate`, so each is replaced in its own module before `main` imports it. Each replacement calls the original
unchanged unless the arguments say `--loss sclip` or `--loss clip`; then `sclip` gets the call, and the original with
it.
"""

import argparse
import functools
import types
from collections.abc import Callable
from typing import Any

from wrapt import register_post_import_hook

from sclip_plugin.host.openclip3 import sclip

Function = Callable[..., Any]  # a function of the host, which has no types


def install() -> None:
    """Register a hook for each module of the host whose names its `main` imports."""
    hooks: dict[str, Callable[[Any], None]] = {
        "open_clip": _patch_open_clip,
        "open_clip_train.params": _patch_params,
        "open_clip_train.data": lambda data: _divert(data, "get_data"),
        "open_clip_train.train": _patch_train,
    }
    for module, patch in hooks.items():
        register_post_import_hook(patch, module)
    let_ddp_run_on_cpu(lambda: sclip.run is not None)


def _wrap(module: Any, name: str) -> Callable[[Function], Function]:
    """Decorator: replace `module.name` by a function that receives the original as its first argument."""

    def replace(function: Function) -> Function:
        original = getattr(module, name)

        @functools.wraps(original)
        def replacement(*args: Any, **kwargs: Any) -> Any:
            return function(original, *args, **kwargs)

        setattr(module, name, replacement)
        return replacement

    return replace


def _divert(module: Any, name: str) -> None:
    """In a run of the plugin the plugin's method of this name takes the call and gets the original as `stock`."""

    @_wrap(module, name)
    def diverted(original: Function, *args: Any, **kwargs: Any) -> Any:
        if sclip.run is None:
            return original(*args, **kwargs)
        return getattr(sclip, name)(original, *args, **kwargs)


def _patch_params(params: Any) -> None:
    @_wrap(params, "parse_args")
    def parse_args(original: Function, args: list[str]) -> argparse.Namespace:
        parsers: list[argparse.ArgumentParser] = []

        class Parser(argparse.ArgumentParser):
            def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
                sclip.add_arguments(self)
                parsers.append(self)
                return super().parse_args(args, namespace)

        stock = params.argparse
        # the function builds its parser itself; it finds ours under the name it uses
        params.argparse = types.SimpleNamespace(**{**vars(stock), "ArgumentParser": Parser})
        try:
            parsed: argparse.Namespace = original(args)
        finally:
            params.argparse = stock
        sclip.check_arguments(parsers[0], parsed)
        return parsed


def _patch_open_clip(open_clip: Any) -> None:
    @_wrap(open_clip, "create_model_and_transforms")
    def create_model_and_transforms(original: Function, *args: Any, **kwargs: Any) -> Any:
        created = original(*args, **kwargs)
        if sclip.run is None:
            return created
        return (sclip.adapt_model(created[0], sclip.namespace), *created[1:])

    _divert(open_clip, "create_loss")


def _patch_train(train: Any) -> None:
    _divert(train, "train_one_epoch")
    _divert(train, "evaluate")


def let_ddp_run_on_cpu(wanted: Callable[[], bool]) -> None:
    """Let the host's DDP work on the CPU while `wanted()` is true; otherwise nothing changes.

    The host builds DDP with `device_ids=[cpu]`, which DDP refuses; on the CPU it must be None.
    """
    import torch
    from torch.nn.parallel import DistributedDataParallel

    original = DistributedDataParallel.__init__

    @functools.wraps(original)
    def init(self: Any, module: Any, device_ids: Any = None, *args: Any, **kwargs: Any) -> None:
        on_cpu = bool(device_ids) and all(isinstance(d, torch.device) and d.type == "cpu" for d in device_ids)
        original(self, module, None if on_cpu and wanted() else device_ids, *args, **kwargs)

    DistributedDataParallel.__init__ = init  # type: ignore[method-assign]  # replacing it is the purpose
