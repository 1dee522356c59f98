"""A model as a folder that open_clip loads by `local-dir:`: its configuration, its weights, its tokenizer's files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import open_clip
import torch
from PIL import Image
from safetensors.torch import save

from sclip_plugin.commands.export.staging import WEIGHTS
from sclip_plugin.commands.flags.run import ChosenModel
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.models import ModelOptions, Preprocess, Tokenizer, load_model
from sclip_plugin.evaluation.weights import CONFIG

if TYPE_CHECKING:
    from torch import nn

SAMPLE: Final = "a photo of a tree, 3 metres high"  # any text whose tokens are compared

Loaded = tuple["nn.Module", Preprocess, Tokenizer]


def write_model(folder: Path, chosen: ChosenModel, loaded: Loaded) -> None:
    """Write configuration, weights and the tokenizer's files, and load them again.

    Args:
        folder: an empty folder.
        chosen: the model, as the run or the command line names it.
        loaded: what `load_model` gives for it, in fp32.

    Raises:
        DataError: the folder cannot say how the model is built: what it loads as has other features or other tokens.
    """
    model, _, tokenizer = loaded
    if hasattr(tokenizer, "save_pretrained"):  # of the Hub's tokenizers, which a folder must hold
        tokenizer.save_pretrained(str(folder))
    config = {"model_cfg": model_config(chosen.name, chosen.options), "preprocess_cfg": _preprocessing(model)}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in model.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))
    _check(folder, loaded)


def model_config(name: str, options: ModelOptions) -> dict[str, Any]:
    """The configuration by which open_clip builds the model, with what the options force written into it.

    Args:
        name: open_clip's name of the model, or `local-dir:DIR`.
        options: how the model was built where that was not as its name says.
    """
    config: dict[str, Any] = open_clip.get_model_config(name if ":" in name else name.replace("/", "-"))
    if options.quick_gelu:
        config["quick_gelu"] = True
    if options.custom_text:
        config["custom_text"] = True
    if options.logit_bias:
        config["init_logit_bias"] = 0.0  # the weights have the value
    if options.image_size is not None:
        config["vision_cfg"]["image_size"] = options.image_size
    if options.context_length is not None:
        config["text_cfg"]["context_length"] = options.context_length
    return config


def _preprocessing(model: "nn.Module") -> Mapping[str, Any]:
    """How the model's images are prepared, as open_clip notes it in a loaded model."""
    visual: Any = model.visual
    return visual.preprocess_cfg


def _check(folder: Path, loaded: Loaded) -> None:
    """Load the folder, and compare tokens, prepared pictures and features of random input."""
    model, preprocess, tokenizer = loaded
    again, transform, tokens = load_model(f"local-dir:{folder}", None, "cpu", "fp32")
    image = random_images(model, 1)
    text, picture = tokenizer([SAMPLE]), _random_picture()
    with torch.inference_mode():
        same = {
            "tokenizer": torch.equal(text, tokens([SAMPLE])),
            "preprocessing": torch.equal(preprocess(picture), transform(picture)),
            "image tower": torch.equal(_towers(model)[0](image), _towers(again)[0](image)),
            "text tower": torch.equal(_towers(model)[1](text), _towers(again)[1](text)),
        }
    for what, equal in same.items():
        if not equal:
            raise DataError(f"the {what} cannot be exported: open_clip's {CONFIG} has no words for it")


def _random_picture() -> Image.Image:
    """Noise, wider than high, so that every way to resize and crop it differs; equal in every call."""
    pixels = torch.randint(0, 256, (301, 437, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Image.fromarray(pixels.numpy())


def _towers(model: "nn.Module") -> tuple[Any, Any]:
    found: Any = model
    return found.encode_image, found.encode_text


def random_images(model: "nn.Module", count: int) -> torch.Tensor:
    """Random images of the model's size, (count, 3, H, W), equal in every call."""
    visual: Any = model.visual
    size = visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))
