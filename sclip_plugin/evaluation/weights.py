"""Weights files and model folders, looked at before open_clip loads them. Nothing in them is executed.

Importing this module imports nothing heavy.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sclip_plugin.errors import DataError

CONFIG: Final = "open_clip_config.json"  # what makes a folder a model
WEIGHTS: Final = ("*.safetensors", "*.bin", "*.pth")  # what open_clip finds in such a folder
ARRAYS: Final = (".npz", ".npy")  # weights of another library, which open_clip converts; numpy reads no pickles

LARGEST: Final = 10_000_000  # of any number below; the largest vocabularies have under a million tokens
MOST_LAYERS: Final = 10_000  # of a tower; the deepest that open_clip knows have under a hundred

# The numbers in a model's configuration without which nothing can be built; absent and null mean open_clip's default.
_NUMBERS: Final = {
    "vision_cfg": ("image_size", "layers", "width", "head_width", "patch_size"),
    "text_cfg": ("context_length", "vocab_size", "layers", "width", "heads"),
}


def check_weights(path: str | Path, flag: str) -> None:
    """Look at a weights file without reading its tensors, as far as the format allows.

    open_clip reads a file again without protection where the protected way fails with a TypeError, so that with torch
    below 2.6 a prepared file could run code. What passes here is safe to hand on.

    Args:
        path: the file.
        flag: the option that named it, for messages.

    Raises:
        DataError: it is missing, empty, damaged, or holds anything but named tensors.
    """
    where = f"{flag} {path}"
    try:
        size = Path(path).stat().st_size if Path(path).is_file() else -1
    except (OSError, ValueError):  # a name that no file can have
        size = -1
    if size < 0:
        raise DataError(f"{where}: no such file")
    if size == 0:
        raise DataError(f"{where}: empty file")
    if Path(path).suffix in ARRAYS:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats, which the reader speaks of below
            tensors = _tensors(path)
    except Exception:  # both readers raise almost anything on hostile bytes
        raise DataError(f"{where}: damaged, or holds more than tensors, and is not loaded") from None
    if not tensors:
        raise DataError(f"{where}: holds no weights (named tensors, or these under `state_dict`)")


def _tensors(path: str | Path) -> bool:
    """Whether the file holds named tensors."""
    if Path(path).suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            return bool(file.keys())
    import torch

    with open(path, "rb") as begin:
        mapped = begin.read(4) == b"PK\x03\x04"  # tensors of the older format cannot be left where they are
    found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    if isinstance(found, Mapping):
        found = found.get("state_dict", found)
    if not isinstance(found, Mapping) or not found:
        return False
    return all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in found.items())


def check_model_folder(folder: Path, flag: str) -> None:
    """Look at a folder's `open_clip_config.json`.

    Args:
        folder: what `local-dir:` names.
        flag: the option that named it, for messages.

    Raises:
        DataError: it is missing, no JSON, or wrongly typed; names the field.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise DataError(f"{flag} local-dir:{folder}: no {CONFIG} there")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise DataError(f"{path}: not a model's configuration: nested too deeply") from None
    except ValueError as error:
        raise DataError(f"{path}: not a model's configuration: {error}") from None
    model = _table(path, config if isinstance(config, dict) else {}, "model_cfg", needed=True)
    picture = _table(path, config, "preprocess_cfg")
    for name in ("mean", "std"):
        value = picture.get(name)
        channels = value if isinstance(value, list) else [value]
        if any(one is not None and (isinstance(one, bool) or not isinstance(one, int | float)) for one in channels):
            raise DataError(f"{path}: preprocess_cfg.{name} must be a list of numbers, got {value!r:.60}")
    _check_number(path, "model_cfg.embed_dim", model.get("embed_dim"))
    for name, fields in _NUMBERS.items():
        tower = _table(path, model, name, needed=True)
        for one in fields:
            most = MOST_LAYERS if one == "layers" else LARGEST
            _check_number(path, f"model_cfg.{name}.{one}", tower.get(one, None), most)


def _table(path: Path, parent: dict[str, Any], name: str, needed: bool = False) -> dict[str, Any]:
    found = parent.get(name, None if needed else {})
    if not isinstance(found, dict):
        what = f"must be an object, got {found!r:.60}" if name in parent else "is missing"
        raise DataError(f"{path}: {name} {what}")
    return found


def _check_number(path: Path, name: str, value: object, most: int = LARGEST) -> None:
    """Refuse anything but a whole number above 0, or a list of such; towers of some kinds have several of one."""
    for one in value if isinstance(value, list) else [value]:
        if one is None:
            continue
        if isinstance(one, bool) or not isinstance(one, int) or one < 1:
            raise DataError(f"{path}: {name} must be a whole number above 0, got {value!r:.60}")
        if one > most:
            raise DataError(f"{path}: {name} must be at most {most}, got {value!r:.60}")
