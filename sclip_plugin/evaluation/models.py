"""Loading an open_clip model by name and weights, and refusing what cannot be loaded.

`Preprocess` and `Tokenizer` are what open_clip gives beside a model. This module imports nothing heavy, so that command
lines may check their arguments with it.
"""

import difflib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.evaluation.activation import mismatch, told_elsewhere
from sclip_plugin.evaluation.weights import WEIGHTS, check_model_folder, check_weights

if TYPE_CHECKING:
    import torch
    from PIL import Image

Preprocess: TypeAlias = Callable[["Image.Image"], "torch.Tensor"]  # to (3, H, W)
LONGEST_REASON: Final = 300  # characters of an error's text in a message

Tokenizer: TypeAlias = Callable[[list[str]], "torch.Tensor"]  # M texts to tokens (M, L)


@dataclass(frozen=True)
class ModelOptions:
    """How a model is built and how its images are prepared, where that is not as its name says.

    Attributes:
        quick_gelu: whether QuickGELU is forced.
        custom_text: whether the text tower is forced into a module of its own.
        logit_bias: whether the model has a bias beside its temperature, as training with `--siglip` gives it.
        image_size: side of the images in pixels, or (height, width); None: as configured.
        context_length: tokens of a text; None: as configured.
        mean: of each channel, which is taken off the pixels; None: as configured.
        std: of each channel, by which the pixels are divided; None: as configured.
        interpolation: `bicubic`, `bilinear` or `random`; None: as configured.
        resize_mode: `shortest`, `longest` or `squash`; None: as configured.
    """

    quick_gelu: bool = False
    custom_text: bool = False
    logit_bias: bool = False
    image_size: int | tuple[int, int] | None = None
    context_length: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str | None = None
    resize_mode: str | None = None

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of `open_clip.create_model_and_transforms`."""
        found = {
            "force_quick_gelu": self.quick_gelu,
            "force_custom_text": self.custom_text,
            "force_image_size": self.image_size,
            "force_context_length": self.context_length,
            "image_mean": self.mean,
            "image_std": self.std,
            "image_interpolation": self.interpolation,
            "image_resize_mode": self.resize_mode,
        }
        return found | ({"init_logit_bias": 0.0} if self.logit_bias else {})  # the weights have the value


AS_NAMED: Final = ModelOptions()  # a model that is wholly as its name says


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


@contextmanager
def _unheard() -> Iterator[None]:
    """Nothing is logged. A line before a host sets up its log would give the root logger a handler of its own, and all
    that the host logs later would stand twice.
    """
    root, nothing = logging.getLogger(), logging.NullHandler()
    root.addHandler(nothing)
    try:
        with _without_warnings(True):
            yield
    finally:
        root.removeHandler(nothing)


def load_model(
    name: str,
    pretrained: str | None,
    device: "str | torch.device",
    precision: str,
    flag: str = "--pretrained",
    options: ModelOptions = AS_NAMED,
) -> "tuple[torch.nn.Module, Preprocess, Tokenizer]":
    """(model, validation transform, tokenizer), the model in eval mode.

    open_clip ignores `pretrained` for names with a scheme such as `local-dir:`; here it counts for them too. Where the
    model has another activation than a tag's weights were trained with, a warning says so.

    Args:
        name: open_clip's name of the model, or `local-dir:DIR`.
        pretrained: a training checkpoint, a weights file or one of open_clip's tags; None for the model's own weights.
        device: where the model is put.
        precision: one of `names.PRECISIONS`.
        flag: the option that named `pretrained`, for messages.
        options: how it is built, and how its images are prepared.

    Raises:
        DataError: the model is unknown, or the checkpoint is missing, damaged or another model's.
    """
    import open_clip

    check_pretrained(name, pretrained, flag)
    check_names(name, pretrained, flag)
    other_activation = mismatch(name, pretrained, options.quick_gelu)
    if other_activation:
        logging.warning(other_activation)
    separate = ":" in name and pretrained is not None
    weights = "" if pretrained is None else f" {flag} {pretrained}"
    try:
        with _without_warnings(separate), told_elsewhere():  # the first: of random weights, which are replaced at once
            model, _, preprocess = open_clip.create_model_and_transforms(
                name,
                None if separate else pretrained,
                load_weights=not separate,
                precision=precision,
                device=device,
                **options.arguments(),
            )
        tokenizer = open_clip.get_tokenizer(name, context_length=options.context_length)
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
        with _unheard():
            own = find(Path(name.removeprefix("local-dir:"))) if find else None
        if own is not None:
            check_weights(own, "--model")


def check_names(name: str, pretrained: str | None, flag: str = "--pretrained") -> None:
    """Refuse a name that open_clip does not know, or a tag that the model does not have, with the nearest that it does.

    Args:
        name: open_clip's name of the model; names with a scheme such as `local-dir:` pass.
        pretrained: a file, or one of open_clip's tags; None passes.
        flag: the option that named `pretrained`, for messages.

    Raises:
        DataError: there is no such model, or no such tag.
    """
    import open_clip

    if ":" in name:
        return
    known = open_clip.list_models()
    if name.replace("/", "-") not in known:  # open_clip takes OpenAI's spelling ViT-B/32 too
        raise DataError(f"--model {name}: open_clip has no such model{_nearest(name, known)}")
    if pretrained is None or os.path.exists(pretrained):
        return
    tags = open_clip.list_pretrained_tags_by_model(name.replace("/", "-"))
    if pretrained.lower().replace("-", "_") not in tags and pretrained.lower() not in tags:
        raise DataError(
            f"{flag} {pretrained}: no such file, and --model {name} has no such tag{_nearest(pretrained, tags)}"
        )


def _nearest(name: str, known: list[str]) -> str:
    """The three names that are most like one, in words; nothing where there are none."""
    by_letters = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), by_letters, n=3, cutoff=0)
    return f"; the nearest are {', '.join(by_letters[one] for one in found)}" if found else ""


def _reason(error: Exception) -> str:
    """One line of an error of open_clip's or torch's."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Error(s) in loading state_dict"):
        return " ".join(lines[1:2])[:LONGEST_REASON]
    known = isinstance(error, RuntimeError | ValueError | OSError)
    return (lines[0] if lines and known else f"{type(error).__name__}: {' '.join(lines[:1])}")[:LONGEST_REASON]
