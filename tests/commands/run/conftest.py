"""Shards, sets and a start model for `sclip run`, and a folder in which its commands are only played."""

from pathlib import Path

import pytest

from sclip_plugin.commands.study.folder import Folder
from tests.commands.run.played import Played
from tests.evaluation.sets import classification_set, model_with_weights, retrieval_set
from tests.helpers.shards import write_shards


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """shards/ with 40 pairs, 60 unpaired images and val/; classification sets c and t; a model with weights."""
    write_shards(tmp_path / "shards" / "paired", 40, 2, captions=True)
    write_shards(tmp_path / "shards" / "unpaired", 60, 2, captions=False, first=1000)
    retrieval_set(tmp_path / "shards" / "val")
    classification_set(tmp_path / "c")
    classification_set(tmp_path / "t", images=6)
    model_with_weights(tmp_path / "model")
    return tmp_path


@pytest.fixture
def command(root: Path) -> list[str]:
    """The words of a short run on the CPU."""
    words = ["run", str(root / "shards"), "--model", f"local-dir:{root / 'model'}", "--out", str(root / "out")]
    return [*words, "--device", "cpu", "--batch-size", "16", "--epochs", "4"]


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    """Commands write made-up products in place of running; the checks of the flags are left out."""
    from sclip_plugin.commands.study import check

    found = Played()
    monkeypatch.setattr(Folder, "_run", lambda self, step, log, each_line, environment: found.play(step, log))
    monkeypatch.setattr(check, "check_arms", lambda study, out: None)
    return found
