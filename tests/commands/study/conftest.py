"""A study file that the tests of this folder share."""

from pathlib import Path

import pytest

from tests.helpers.sets import write_classification_set, write_retrieval_set

TEXT = """
baseline = "plain"
threads = 1
seeds = [4]
[train]
model = "{model}"
train-data = "{shards}/paired"
batch-size = 16
lr = 1e-3
warmup = 1
epochs = 3
workers = 1
precision = "fp32"
device = "cpu"
log-every-n-steps = 1
[train-sclip]
unpaired-data = "{shards}/unpaired"
keywords = "{shards}/keywords.txt"
[arms.plain]
[arms.full]
loss = "sclip"
[evaluate]
points = 2
bootstrap = 20
zeroshot = {{ things = "{sets}/things" }}
retrieval = {{ val = "{sets}/val" }}
"""


@pytest.fixture
def file(tmp_path: Path, shards: Path, tiny_model: str) -> Path:
    """A study of a tiny model with one arm without S-CLIP and one with it; its training takes seconds."""
    write_retrieval_set(tmp_path / "val", 9)
    write_classification_set(tmp_path / "things", 8)
    path = tmp_path / "tiny.toml"
    path.write_text(TEXT.format(model=tiny_model, shards=shards, sets=tmp_path))
    return path
