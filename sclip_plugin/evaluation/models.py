"""Loading an open_clip model by name and weights, and refusing what cannot be loaded.

`Preprocess` and `Tokenizer` are what open_clip gives beside a model. This module imports nothing heavy, so that command
lines may check their arguments with it.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.evaluation.weights import WEIGHTS, check_model_folder, check_weights

if TYPE_CHECKING:
    import torch
    from PIL import Image

Preprocess: TypeAlias = Callable[["Image.Image"], "torch.Tensor"]  # to (3, H, W)
LONGEST_REASON: Final = 300  # characters of an error's text in a message

Tokenizer: TypeAlias = Callable[[list[str]], "torch.Tensor"]  # M texts to tokens (M, L)


def check_model(model: str, pretrained: str | list[str | None] | None) -> None:
    """Refuse a model without weights before anything loads.

    Args:
        model: open_clip's name of it, or `local-dir:DIR`.
        pretrained: checkpoint files or tags; None or [None] where none was given.

    Raises:
        UsageError: `model` is a name that needs `pretrained`.
        DataError: `model` is a folder that lacks its files, or whose configuration is wrongly typed.
    """
    if not model.startswith("local-dir:"):
        if not pretrained and not model.startswith("hf-hub:"):
            raise UsageError(f"--pretrained is missing: --model {model} alone has random weights")
        return
    folder = Path(model.removeprefix("local-dir:"))
    check_model_folder(folder, "--model")
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
    name: str, pretrained: str | None, device: "str | torch.device", precision: str, flag: str = "--pretrained"
) -> "tuple[torch.nn.Module, Preprocess, Tokenizer]":
    """(model, validation transform, tokenizer), the model in eval mode.

    open_clip ignores `pretrained` for names with a scheme such as `local-dir:`; here it counts for them too.

    Args:
        name: open_clip's name of the model, or `local-dir:DIR`.
        pretrained: a training checkpoint, a weights file or one of open_clip's tags; None for the model's own weights.
        device: where the model is put.
        precision: one of `names.PRECISIONS`.
        flag: the option that named `pretrained`, for messages.

    Raises:
        DataError: the model is unknown, or the checkpoint is missing, damaged or another model's.
    """
    import open_clip

    check_pretrained(name, pretrained, flag)
    separate = ":" in name and pretrained is not None
    weights = "" if pretrained is None else f" {flag} {pretrained}"
    try:
        with _without_warnings(separate):  # of random weights, which are replaced at once
            model, _, preprocess = open_clip.create_model_and_transforms(
                name, None if separate else pretrained, load_weights=not separate, precision=precision, device=device
            )
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # open_clip checks little: a wrong field of a model's files ends in an error of any type
        raise DataError(f"--model {name}{weights}: {_reason(error)}") from None
    if separate:
        try:
            open_clip.load_checkpoint(model, pretrained)
        except Exception as error:  # as above, of a wrong tensor
            raise DataError(f"{weights.strip()}: does not fit --model {name}: {_reason(error)}") from None
    return model.eval(), preprocess, tokenizer


def check_pretrained(name: str, pretrained: str | None, flag: str) -> None:
    """Look at the weights that a model is to be loaded with, where they are a file; tags are open_clip's to find.

    Args:
        name: open_clip's name of the model, or `local-dir:DIR`.
        pretrained: a weights file or one of open_clip's tags; None for the model's own weights.
        flag: the option that named `pretrained`, for messages.

    Raises:
        DataError: the file is missing, damaged, or holds anything but weights.
    """
    if pretrained is not None:
        if ":" in name or os.path.exists(pretrained):
            check_weights(pretrained, flag)
        return
    if name.startswith("local-dir:"):
        from open_clip import factory

        find = getattr(factory, "_find_checkpoint_in_dir", None)  # which of several files open_clip takes
        own = find(Path(name.removeprefix("local-dir:"))) if find else None
        if own is not None:
            check_weights(own, "--model")


def _reason(error: Exception) -> str:
    """One line of an error of open_clip's or torch's."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Error(s) in loading state_dict"):
        return " ".join(lines[1:2])[:LONGEST_REASON]
    known = isinstance(error, RuntimeError | ValueError | OSError)
    return (lines[0] if lines and known else f"{type(error).__name__}: {' '.join(lines[:1])}")[:LONGEST_REASON]
