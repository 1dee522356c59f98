"""Loading an open_clip model by name and weights, and refusing what cannot be loaded."""

import logging
from contextlib import contextmanager
from pathlib import Path

from sclip_plugin.errors import DataError, UsageError

WEIGHTS = ("*.safetensors", "*.bin", "*.pth")  # what open_clip finds in a local-dir


def check_model(model: str, pretrained) -> None:
    """Refuse, before anything loads, a model without weights.

    Raises:
        UsageError: a name that needs `pretrained`. DataError: a local-dir that lacks its files.
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
def _without_warnings(wanted: bool):
    logging.disable(logging.WARNING if wanted else logging.NOTSET)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def load_model(name: str, pretrained: str | None, device, precision: str):
    """(model, validation transform, tokenizer), in eval mode.

    open_clip ignores `pretrained` for names with a scheme such as `local-dir:`; here it counts for them too.

    Raises:
        DataError: unknown model, or a checkpoint that is missing or does not fit the model.
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
