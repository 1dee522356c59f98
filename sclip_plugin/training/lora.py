"""The flags of low-rank adaptation (LoRA, arXiv 2106.09685), and what does not go with them."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from sclip_plugin.errors import UsageError

FLAGS: Final = ("--lora-rank", "--lora-alpha", "--lora-dropout")
DROPOUT: Final = 0.0  # peft's


@dataclass(frozen=True)
class LoraSettings:
    """How a run adapts its model.

    Attributes:
        rank: r, of the update of each weight matrix.
        alpha: the update counts alpha/rank.
        dropout: probability with which an input of an update is dropped in training.
        towers: which towers are adapted, of "image" and "text"; a locked one is not.
    """

    rank: int
    alpha: float
    dropout: float
    towers: tuple[str, ...]


def add_arguments(
    parser: argparse.ArgumentParser, count: Callable[[str], int], positive: Callable[[str], float]
) -> None:
    """Add the flags as a group of their own.

    Args:
        parser: the host's.
        count: a parser of whole numbers above 0.
        positive: a parser of numbers above 0.
    """
    add = parser.add_argument_group(
        "LoRA",
        "train low-rank updates of both towers (arXiv 2106.09685) in place of all weights, by sclip-plugin; with "
        "--loss sclip or --loss clip; checkpoints hold the merged weights, as open_clip's own do",
    ).add_argument
    add(
        "--lora-rank",
        type=count,
        metavar="R",
        help="Rank of the update of each linear layer, attention and convolution, 4 to 16 say; --lock-image or "
        "--lock-text leave a tower as it is. It wants a higher --lr than full fine-tuning. Default: all weights are "
        "trained.",
    )
    add(
        "--lora-alpha",
        type=positive,
        metavar="A",
        help="An update counts A/R. Default: R, so that it counts once (as in LoRA's paper at its first rank).",
    )
    add(
        "--lora-dropout",
        type=_share,
        metavar="P",
        help=f"Probability with which an input of an update is dropped in training. Default: {DROPOUT:g}.",
    )


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 up to 1, got {text!r}")
    return value


def complete(args: argparse.Namespace) -> None:
    """Refuse what does not go together, then fill in defaults.

    Args:
        args: the host's arguments, those of LoRA None where they were not given.

    Raises:
        UsageError: flags that do nothing or do not work together, named; or peft is not installed.
    """
    if args.lora_rank is None:
        for flag, value in (("--lora-alpha", args.lora_alpha), ("--lora-dropout", args.lora_dropout)):
            if value is not None:
                raise UsageError(f"{flag} does nothing without --lora-rank")
        return
    if args.lock_image and args.lock_text:
        raise UsageError("--lora-rank leaves a locked tower as it is: with both locked none is adapted")
    for flag, value in (
        ("--lock-image-unlocked-groups", args.lock_image and args.lock_image_unlocked_groups),
        ("--lock-text-unlocked-layers", args.lock_text and args.lock_text_unlocked_layers),
        ("--use-bnb-linear", args.use_bnb_linear is not None),
    ):
        if value:
            raise UsageError(f"{flag} does not work with --lora-rank")
    if find_spec("peft") is None:
        raise UsageError("--lora-rank needs peft: pip install 'sclip-plugin[lora]'")
    args.lora_alpha = float(args.lora_rank) if args.lora_alpha is None else args.lora_alpha
    args.lora_dropout = DROPOUT if args.lora_dropout is None else args.lora_dropout


def lora_settings(args: argparse.Namespace) -> LoraSettings | None:
    """The settings in arguments that `complete` has completed; None where all weights are trained."""
    if args.lora_rank is None:
        return None
    locked = {"image": args.lock_image, "text": args.lock_text}
    towers = tuple(name for name, on in locked.items() if not on)
    return LoraSettings(args.lora_rank, args.lora_alpha, args.lora_dropout, towers)
