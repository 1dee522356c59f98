"""The panel of a training run: the same samples after every epoch, and a run that goes on where there are none."""

import numpy as np
import pytest

from sclip_plugin.data.shard_list import expand
from sclip_plugin.inspection import epoch_panel
from sclip_plugin.inspection.epoch_panel import EpochPanel
from sclip_plugin.inspection.labels import label_images
from sclip_plugin.keywords import Vocabulary
from sclip_plugin.loss.settings import LossSettings
from tests.helpers.shards import write_tar


@pytest.fixture
def make_panel(loaded, shards):
    """EpochPanel of the session's shards, with other values by name."""

    def make(**changes) -> EpochPanel:
        values = {
            "paired": expand(str(shards / "paired"), "--train-data"),
            "unpaired": expand(str(shards / "unpaired"), "--unpaired-data"),
            "pairs": 12,
            "images": 9,
            "settings": LossSettings("soft-text"),
            "vocabulary": Vocabulary(["tree", "river"]),
            "keyword_template": "a photo of {}",
            "preprocess": loaded[1],
            "tokenizer": loaded[2],
            "device": "cpu",
            "precision": "fp32",
            "batch_size": 8,
        }
        return EpochPanel(**{**values, **changes})

    return make


def test_every_epoch_shows_the_same_samples_under_the_runs_rule(make_panel, loaded, monkeypatch):
    seen = []

    def recorded(*values, **options):
        seen.append((values, options))
        return label_images(*values, **options)

    monkeypatch.setattr(epoch_panel, "label_images", recorded)
    panel = make_panel()
    first, second = panel.draw(loaded[0], 1), panel.draw(loaded[0], 2)
    assert first.dtype == np.uint8
    assert first.shape[2] == 3
    assert first.std() > 10
    assert not np.array_equal(first, second)  # the title names the epoch
    assert np.array_equal(first[100:], second[100:])
    (_, _, pairs, unpaired), options = seen[0]
    assert (len(pairs), len(unpaired)) == (12, 9)
    assert seen[1][0][2:] == (pairs, unpaired)
    assert options["settings"] == LossSettings("soft-text")
    assert options["keyword_template"] == "a photo of {}"
    assert options["batch_size"] == 8


def test_large_batches_are_shown_in_part(make_panel, monkeypatch):
    monkeypatch.setattr(epoch_panel, "MOST", 5)
    pairs, unpaired = make_panel()._read()
    assert (len(pairs), len(unpaired)) == (5, 5)


def test_shards_without_a_usable_sample_are_logged_once(make_panel, loaded, tmp_path, caplog):
    write_tar(tmp_path / "0.tar", [("a.txt", b"no image")])
    panel = make_panel(unpaired=expand(str(tmp_path), "--unpaired-data"))
    assert panel.draw(loaded[0], 1) is None
    assert panel.draw(loaded[0], 2) is None
    assert caplog.text.count("no image panel: --unpaired-data: no usable sample in 1 shards") == 1
