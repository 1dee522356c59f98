"""Folders of training runs, made by hand."""

from pathlib import Path

import torch

PARAMETERS = {
    "batch_size": 64,
    "epochs": 2,
    "force_context_length": None,
    "force_custom_text": False,
    "force_image_size": None,
    "force_quick_gelu": False,
    "image_interpolation": None,
    "image_mean": None,
    "image_resize_mode": None,
    "image_std": None,
    "precision": "fp32",
    "pretrained": "",
    "siglip": False,
}


def write_run(folder: Path, model: str, files: dict[str, dict] | None = None, **parameters) -> Path:
    """A run's folder as open_clip leaves it; `files` holds the weights of each checkpoint by its name."""
    (folder / "checkpoints").mkdir(parents=True)
    values = {**PARAMETERS, "model": model, **parameters}
    (folder / "params.txt").write_text("".join(f"{name}: {value}\n" for name, value in sorted(values.items())))
    for name, state in (files or {}).items():
        torch.save({"epoch": 1, "name": folder.name, "state_dict": state}, folder / "checkpoints" / name)
    return folder
