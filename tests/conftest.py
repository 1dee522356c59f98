"""Fixtures that every test folder may use."""

import os
import sys
from pathlib import Path

import pytest

from tests.helpers.models import write_model
from tests.helpers.shards import write_shards

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> str:
    return write_model(tmp_path_factory.mktemp("models") / "vit")


@pytest.fixture(autouse=True)
def no_run_left_in_this_process():
    """Parsing `--loss sclip` readies a process for training; tests that do so here must not reach the next ones."""
    yield
    hooked = sys.modules.get("sclip_plugin.host.openclip3")
    if hooked is not None:
        hooked.sclip.run = None


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    """paired/ (40 samples, 4 shards), unpaired/ (60, 3) and keywords.txt; not to be changed."""
    root = tmp_path_factory.mktemp("shards")
    write_shards(root / "paired", 40, 4, captions=True)
    write_shards(root / "unpaired", 60, 3, captions=False, first=1000)
    (root / "keywords.txt").write_text("# made by hand\ntree\nriver\npark\t# 8\nparking lot\nlot\n")
    return root
