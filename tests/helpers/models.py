"""Tiny models that need no network."""

import json
from pathlib import Path

VISION = {"vit": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}}
VISION["rn"] = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "patch_size": None}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}


def write_model(folder: Path, vision: str = "vit", **extra) -> str:
    """Write an `open_clip_config.json`; returns the value for `--model`."""
    folder.mkdir(parents=True, exist_ok=True)
    towers = {"embed_dim": 32, "vision_cfg": VISION[vision], "text_cfg": TEXT, **extra}
    config = {"model_cfg": towers, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return f"local-dir:{folder}"
