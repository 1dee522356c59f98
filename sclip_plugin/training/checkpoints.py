"""The checkpoint that a run goes on from, looked at before any model is loaded and without reading its tensors."""

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sclip_plugin.errors import DataError
from sclip_plugin.training.lora import LoraSettings

ZIP, PICKLE = b"PK\x03\x04", b"\x80"  # how a checkpoint begins; as a bare pickle torch below 1.6 wrote it
ADAPTERS = "sclip_lora"  # in the optimizer's part of a checkpoint, of which only training that goes on takes note


@dataclass(frozen=True)
class Resumed:
    """A checkpoint that a run goes on from.

    Attributes:
        path: its file.
        shapes: of its weights by name, as one process names them; empty where only loading it could tell.
        adapters: what `adapters_entry` made of the run's adapters; None where it trained all weights.
    """

    path: str
    shapes: Mapping[str, tuple[int, ...]]
    adapters: Mapping[str, Any] | None = None

    def check_model(self, model: nn.Module) -> None:
        """Compare with the model that is to take the weights.

        Raises:
            DataError: the weights are another model's.
        """
        wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        for name in sorted({*wanted, *self.shapes} if self.shapes else ()):
            here, there = wanted.get(name, "missing"), self.shapes.get(name, "missing")
            if here != there:
                raise DataError(f"--resume {self.path}: another model's weights: {name} is {there}, in --model {here}")

    def check_adapters(self, wanted: LoraSettings | None) -> None:
        """Compare with what the run that goes on is told of adapters.

        Raises:
            DataError: its checkpoint has none, or some that the flags do not say, or others.
        """
        if self.adapters is None:
            if wanted is not None:
                raise DataError(f"--resume {self.path}: holds no adapters to go on from; leave --lora-rank out")
            return
        there = {name: self.adapters[name] for name in ("rank", "alpha", "towers")}
        if wanted is None or there != _named(wanted):
            alpha, towers = there["alpha"], " and ".join(map(str, there["towers"]))
            raise DataError(
                f"--resume {self.path}: was trained with --lora-rank {there['rank']} --lora-alpha {alpha:g} on the "
                f"{towers} tower{'' if ' ' not in towers else 's'}, and goes on with the same flags only"
            )

    def weights(self) -> dict[str, Tensor]:
        """The weights, as one process names them."""
        found = _weights(self.path, _load(self.path))
        return {name.removeprefix("module."): value for name, value in found.items()}


def adapters_entry(settings: LoraSettings, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a checkpoint keeps of adapters, from which training goes on."""
    return {**_named(settings), "weights": dict(weights)}


def _named(settings: LoraSettings) -> dict[str, Any]:
    """What must be the same in a run that goes on, by the words of its flags."""
    return {"rank": settings.rank, "alpha": settings.alpha, "towers": list(settings.towers)}


def read_resumed(path: str, distributed: bool) -> Resumed:
    """The checkpoint at `path`, for `--resume`.

    Args:
        path: the file.
        distributed: whether the run has several processes, whose checkpoints name weights in another way.

    Raises:
        DataError: it is missing, damaged, or not what a run can go on from.
    """
    path = os.path.expanduser(path)
    fault = damage(path)
    if fault:
        raise DataError(f"--resume {path}: {fault}")
    if _begins(path) != ZIP:
        return Resumed(path, {})
    saved = _load(path)
    weights = _weights(path, saved)
    prefixed = any(name.startswith("module.") for name in weights)
    if distributed != prefixed and (distributed or "epoch" not in saved):
        made, asked = ("several processes", "one") if prefixed else ("one process", "several")
        raise DataError(f"--resume {path}: was written by {made}; open_clip cannot load it in {asked}")
    shapes = {
        name.removeprefix("module."): tuple(value.shape) for name, value in weights.items() if isinstance(value, Tensor)
    }
    return Resumed(path, shapes, _adapters(path, saved))


def _adapters(path: str, saved: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The entry of the adapters in a checkpoint; None where it has none."""
    entry = saved["optimizer"].get(ADAPTERS) if "epoch" in saved else None
    if entry is None:
        return None
    found: Mapping[str, Any] = entry if isinstance(entry, Mapping) else {}
    kinds = {"rank": int, "alpha": float, "towers": list, "weights": Mapping}
    if not all(isinstance(found.get(name), kind) for name, kind in kinds.items()) or not all(
        isinstance(one, Tensor) for one in found["weights"].values()
    ):
        raise DataError(f"--resume {path}: its adapters are not what a run with --lora-rank writes")
    return found


def _weights(path: str, saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """The weights in a checkpoint of a run, or in a file of weights alone."""
    if "epoch" not in saved:
        return saved
    lacking = [name for name in ("state_dict", "optimizer") if not isinstance(saved.get(name), Mapping)]
    if lacking:
        raise DataError(f"--resume {path}: a checkpoint of a run needs {' and '.join(lacking)}; there is none here")
    if type(saved["epoch"]) is not int or saved["epoch"] < 0:
        raise DataError(f"--resume {path}: its epoch must be a whole number ≥ 0, got {saved['epoch']!r}")
    weights: Mapping[str, Any] = saved["state_dict"]
    return weights


def damage(path: str) -> str | None:
    """What is wrong with a checkpoint file; None where it can be loaded, as far as its tensors need not be read."""
    try:
        begins = _begins(path)
    except OSError as error:
        return error.strerror or type(error).__name__
    if not begins:
        return "is empty"
    if begins != ZIP:
        return None if begins.startswith(PICKLE) else "is not a checkpoint"
    if not zipfile.is_zipfile(path):  # the table of contents stands at the end
        return "is cut off; the run was stopped, or the disk was full, while it was written"
    try:
        saved = _load(path)
    except Exception:  # unpickling damaged bytes raises almost anything
        return "is damaged, or holds more than tensors, and is not loaded"
    return None if isinstance(saved, Mapping) and all(isinstance(name, str) for name in saved) else "holds no weights"


def _begins(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(len(ZIP))


def _load(path: str) -> Any:
    """The checkpoint, its tensors mapped and not read; runs no code from the file."""
    import torch

    return torch.load(os.path.abspath(path), map_location="cpu", weights_only=True, mmap=True)
