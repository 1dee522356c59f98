"""Tiny models under two names, with GELU and with QuickGELU, and a pretrained tag that was trained with QuickGELU."""

import json
from pathlib import Path

from tests.helpers.models import TEXT, VISION

PLAIN, TWIN, TAG = "tiny-vit", "tiny-vit-quickgelu", "mine"

# What a module does before it runs open_clip's training; {folder} is that of `write_twins`.
TRAINING = """
import runpy
from tests.helpers.quickgelu import register
register({folder!r})
runpy.run_module("open_clip_train.main", run_name="__main__")
"""


def write_twins(folder: Path) -> Path:
    """Both configurations, the weights that both can load, and `twins.py`, a module that trains with them known."""
    import open_clip
    import torch

    folder.mkdir(parents=True)
    towers = {"embed_dim": 32, "vision_cfg": VISION["vit"], "text_cfg": TEXT}
    for name, config in ((PLAIN, towers), (TWIN, {**towers, "quick_gelu": True})):
        (folder / f"{name}.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    torch.save(open_clip.CLIP(**towers).state_dict(), folder / "weights.pt")
    (folder / "twins.py").write_text(TRAINING.format(folder=str(folder)))
    return folder


def register(folder: str | Path, setitem=dict.__setitem__, setattr_=setattr) -> None:
    """Let open_clip know both names and the tag; a test passes its monkeypatch's functions."""
    import open_clip
    from open_clip import factory, pretrained

    for name in (PLAIN, TWIN):
        setitem(factory._MODEL_CONFIGS, name, json.loads((Path(folder) / f"{name}.json").read_text()))
        tag = {"quick_gelu": True, "url": "", "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.3, 0.4)}
        setitem(pretrained._PRETRAINED, name, {TAG: tag})
    setattr_(factory, "download_pretrained", lambda *_, **__: str(Path(folder) / "weights.pt"))
    assert open_clip.get_model_config(TWIN)["quick_gelu"]
