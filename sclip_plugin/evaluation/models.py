"""Loading an open_clip model by name and weights, and refusing what cannot be loaded.

`Preprocess` and `Tokenizer` are what open_clip gives beside a model. This module imports nothing heavy, so that command
lines may check their arguments with it.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sclip_plugin.errors import DataError, UsageError

if TYPE_CHECKING:
    import torch
    from PIL import Image

Preprocess: TypeAlias = Callable[["Image.Image"], "torch.Tensor"]  # to (3, H, W)
Tokenizer: TypeAlias = Callable[[list[str]], "torch.Tensor"]  # M texts to tokens (M, L)

WEIGHTS = ("*.safetensors", "*.bin", "*.pth")  # what open_clip finds in a local-dir


def check_model(model: str, pretrained: str | list[str | None] | None) -> None:
    """Refuse a model without weights before anything loads.

    Args:
        model: open_clip's name of it, or `local-dir:DIR`.
        pretrained: checkpoint files or tags; None or [None] where none was given.

    Raises:
        UsageError: `model` is a name that needs `pretrained`.
        DataError: `model` is a folder that lacks its files.
    """
    if not model.startswith("local-dir:"):
        if not pretrained and not model.startswith("hf-hub:"):
            raise UsageError(f"--pretrained is missing: --model {model} alone has random weights")
        return
    folder = Path(model.removeprefix("local-dir:"))
    if not (folder / "open_clip_config.json").is_file():
        raise DataError(f"--model {model}: no open_clip_config.json there")
    if not pretrained and not any(any(folder.glob(pattern)) for pattern in WEIGHTS):
        raise DataError(f"--model {model}: no weights there; pass --pretrained")


@contextmanager
def _without_warnings(wanted: bool) -> Iterator[None]:
    logging.disable(logging.WARNING if wanted else logging.NOTSET)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def load_model(
    name: str, pretrained: str | None, device: "str | torch.device", precision: str
) -> "tuple[torch.nn.Module, Preprocess, Tokenizer]":
    """(model, validation transform, tokenizer), the model in eval mode.

    open_clip ignores `pretrained` for names with a scheme such as `local-dir:`; here it counts for them too.

    Args:
        name: open_clip's name of the model, or `local-dir:DIR`.
        pretrained: a training checkpoint, a weights file or one of open_clip's tags; None for the model's own weights.
        device: where the model is put.
        precision: one of `names.PRECISIONS`.

    Raises:
        DataError: the model is unknown, or the checkpoint is missing or does not fit the model.
    """
    import open_clip

    separate = ":" in name and pretrained is not None
    try:
        with _without_warnings(separate):  # of random weights, which are replaced at once
            model, _, preprocess = open_clip.create_model_and_transforms(
                name, None if separate else pretrained, load_weights=not separate, precision=precision, device=device
            )
            if separate:
                open_clip.load_checkpoint(model, pretrained)
        return model.eval(), preprocess, open_clip.get_tokenizer(name)
    except (RuntimeError, KeyError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"--model {name} --pretrained {pretrained}: {reason}") from None
