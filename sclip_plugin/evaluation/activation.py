"""Whether a model has the activation that its weights were trained with: QuickGELU or GELU.

Both activations have no weights of their own, so weights of one load into a model with the other without any complaint,
and the features come out worse. OpenAI's weights were trained with QuickGELU, but open_clip builds `ViT-B-32` with GELU
and `ViT-B-32-quickgelu` with QuickGELU. This module alone knows how open_clip notes the activation: as `quick_gelu` of
a model's configuration, and as `quick_gelu` of a pretrained tag. Importing it imports nothing heavy.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sclip_plugin.evaluation.weights import check_model_folder

SUFFIX: Final = "-quickgelu"  # how open_clip names the twin with QuickGELU
NAMES: Final = {True: "QuickGELU", False: "GELU"}  # the activation of a model that `uses_quick_gelu`, or does not


def mismatch(model: str, pretrained: str | None, forced: bool = False) -> str | None:
    """One line where the weights behind a tag were trained with another activation than the model has; else None.

    Args:
        model: open_clip's name of the model. Folders and the Hub's models bring their own configuration, and open_clip
            takes no tag for them.
        pretrained: one of open_clip's tags; anything else is no tag, so that nothing is known of it.
        forced: whether the model is built with QuickGELU whatever its configuration says (`--force-quick-gelu`).
    """
    if not pretrained or ":" in model:
        return None
    import open_clip

    tag = open_clip.get_pretrained_cfg(model.replace("/", "-"), pretrained)
    has, wants = uses_quick_gelu(model, forced), bool(tag.get("quick_gelu", False))
    if not tag or has is None or has == wants:
        return None
    return (
        f"--model {model} has {NAMES[has]}, but --pretrained {pretrained} was trained with {NAMES[wants]}, so the "
        f"model is worse than its weights; {_remedy(model, pretrained, wants, forced)}"
    )


def uses_quick_gelu(model: str, forced: bool = False) -> bool | None:
    """Whether a model has QuickGELU; None where its configuration cannot be had.

    Args:
        model: open_clip's name of it, or `local-dir:DIR`.
        forced: whether it is built with QuickGELU whatever its configuration says.
    """
    config = model_config(model)
    return None if config is None else forced or bool(config.get("quick_gelu", False))


def model_config(model: str) -> dict[str, Any] | None:
    """open_clip's configuration of a model, the towers and their sizes; None where it cannot be had.

    Args:
        model: open_clip's name of it, or `local-dir:DIR`.

    Raises:
        DataError: the model is a folder whose configuration is damaged.
    """
    import open_clip

    if model.startswith("local-dir:"):
        check_model_folder(Path(model.removeprefix("local-dir:")), "--model")
    try:
        found: dict[str, Any] | None = open_clip.get_model_config(model if ":" in model else model.replace("/", "-"))
    except (OSError, ValueError):  # the Hub, which cannot be reached or has no such model
        return None
    return found


def _remedy(model: str, pretrained: str, wants: bool, forced: bool) -> str:
    import open_clip

    twin = model + SUFFIX if wants else model.removesuffix(SUFFIX)
    if twin != model and open_clip.is_pretrained_cfg(twin.replace("/", "-"), pretrained):
        return f"use --model {twin}"
    if wants:
        return "train with --force-quick-gelu"
    return "leave --force-quick-gelu out" if forced else "use a model with GELU"


@contextmanager
def told_elsewhere() -> Iterator[None]:
    """Keep open_clip's own warning of a mismatch back, where `mismatch` is told in its place."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="QuickGELU mismatch")
        yield
