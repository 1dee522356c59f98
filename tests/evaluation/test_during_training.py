"""The plugin's own evaluation sets in a training run: when each is evaluated, and under which names."""

import pytest

from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.during_training import EvaluationSets
from sclip_plugin.evaluation.models import load_model
from sclip_plugin.evaluation.names import CLASSIFICATION_METRICS, RECALLS
from sclip_plugin.evaluation.sets import is_retrieval_set
from tests.evaluation.sets import classification_set, model_with_weights, retrieval_set

OPTIONS = {"device": "cpu", "batch_size": 4, "workers": 0, "precision": "fp32"}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load_model(model_with_weights(tmp_path_factory.mktemp("model")), None, "cpu", "fp32")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    return str(classification_set(root / "classes")), str(retrieval_set(root / "captions"))


def sets(loaded, folders, zeroshot_frequency, val_frequency) -> EvaluationSets:
    classes, captions = folders
    return EvaluationSets({"themes": classes}, captions, *loaded[1:], zeroshot_frequency, val_frequency)


def test_metrics_bear_the_names_of_set_and_host(loaded, folders):
    found = sets(loaded, folders, 1, 1).evaluate(loaded[0], 1, last=False, **OPTIONS)
    assert set(found) == {*(f"themes/{name}" for name in CLASSIFICATION_METRICS), *RECALLS, "clip_val_loss"}


@pytest.mark.parametrize(
    ("frequencies", "epoch", "last", "due"),
    [
        ((2, 3), 1, False, set()),
        ((2, 3), 2, False, {"themes"}),
        ((2, 3), 3, False, {"val"}),
        ((2, 3), 5, True, {"themes", "val"}),
        ((0, 1), 4, True, {"val"}),
        ((1, 0), 4, True, {"themes"}),
    ],
)
def test_each_set_is_due_by_its_own_frequency_and_after_the_last_epoch(loaded, folders, frequencies, epoch, last, due):
    found = sets(loaded, folders, *frequencies).evaluate(loaded[0], epoch, last, **OPTIONS)
    assert {"themes" if name.startswith("themes/") else "val" for name in found} == due


def test_sets_are_looked_at_before_training(folders, tmp_path):
    classes, captions = folders
    EvaluationSets({"themes": classes}, captions, None, None, 1, 1).check()
    with pytest.raises(DataError, match="makes it a retrieval set, not one for classification"):
        EvaluationSets({"themes": captions}, None, None, None, 1, 1).check()
    with pytest.raises(DataError, match="no such folder"):
        EvaluationSets({}, str(tmp_path / "nowhere"), None, None, 1, 1).check()
    assert not EvaluationSets({}, None, None, None, 1, 1)


def test_a_retrieval_set_is_told_by_its_file(folders, tmp_path):
    assert is_retrieval_set(folders[1])
    assert not is_retrieval_set(folders[0])
    assert not is_retrieval_set(str(tmp_path / "000000.tar"))
    assert not is_retrieval_set(None)
