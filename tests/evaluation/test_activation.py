"""QuickGELU and GELU: a tag whose weights want the other activation is told in one line."""

import logging
import warnings

import pytest

from sclip_plugin.evaluation.activation import mismatch
from sclip_plugin.evaluation.models import ModelOptions, load_model
from tests.helpers.quickgelu import PLAIN, TAG, TWIN, register, write_twins


@pytest.fixture
def twins(tmp_path, monkeypatch):
    folder = write_twins(tmp_path / "twins")
    register(folder, monkeypatch.setitem, monkeypatch.setattr)
    return folder


def test_the_line_names_the_twin(twins):
    assert mismatch(PLAIN, TAG) == (
        f"--model {PLAIN} has GELU, but --pretrained {TAG} was trained with QuickGELU, so the model is worse than its "
        f"weights; use --model {TWIN}"
    )


@pytest.mark.parametrize(
    ("model", "pretrained", "forced"),
    [(TWIN, TAG, False), (PLAIN, TAG, True), (PLAIN, "weights.pt", False), (PLAIN, None, False), (PLAIN, "", False)],
)
def test_nothing_is_said_where_nothing_is_wrong_or_known(twins, model, pretrained, forced):
    assert mismatch(model, pretrained, forced) is None
    assert mismatch("no-such-model", TAG) is None
    assert mismatch(f"local-dir:{twins}", TAG) is None


def test_the_names_of_open_clip_itself():
    line = "use --model ViT-B-32-quickgelu"
    assert line in mismatch("ViT-B-32", "openai")
    assert mismatch("ViT-B-32-quickgelu", "openai") is None
    assert mismatch("ViT-B-32", "laion2b_s34b_b79k") is None
    assert "leave --force-quick-gelu out" in mismatch("ViT-B-32", "laion2b_s34b_b79k", forced=True)


def test_a_model_loads_with_one_warning(twins, caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")  # open_clip's own is not wanted beside it
        load_model(PLAIN, TAG, "cpu", "fp32")
        assert [record.message for record in caplog.records] == [mismatch(PLAIN, TAG)]
        caplog.clear()
        load_model(PLAIN, TAG, "cpu", "fp32", options=ModelOptions(quick_gelu=True))
        load_model(TWIN, TAG, "cpu", "fp32")
    assert not [record for record in caplog.records if "GELU" in record.message]
