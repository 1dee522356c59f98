"""What a run has recorded, as open_clip writes it down."""

import json
import logging

import pytest

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.evaluation.models import ModelOptions
from sclip_plugin.host.openclip3_records import read_results, read_run, run_of
from tests.helpers.quickgelu import TAG, TWIN, register, write_twins
from tests.helpers.runs import write_run


def test_everything_that_makes_the_model_is_read(tmp_path):
    run = read_run(
        write_run(
            tmp_path / "run",
            "RN50",
            precision="amp",
            pretrained="weights.pt",
            epochs=7,
            force_quick_gelu=True,
            force_custom_text=True,
            force_image_size=[64],
            force_context_length=16,
            image_mean=[0.5, 0.5, 0.25],
            image_std=[1, 1, 1],
            image_interpolation="bilinear",
            image_resize_mode="squash",
            siglip=True,
            name="a: name",
        )
    )
    assert (run.model, run.precision, run.pretrained, run.epochs) == ("RN50", "amp", "weights.pt", 7)
    assert run.options == ModelOptions(
        quick_gelu=True,
        custom_text=True,
        logit_bias=True,
        image_size=64,
        context_length=16,
        mean=(0.5, 0.5, 0.25),
        std=(1.0, 1.0, 1.0),
        interpolation="bilinear",
        resize_mode="squash",
    )


def test_what_a_run_does_not_set_is_as_the_model_says(tmp_path):
    assert read_run(write_run(tmp_path / "run", "RN50")).options == ModelOptions()
    (tmp_path / "run" / "params.txt").write_text("model: RN50\nprecision: fp32\nforce_image_size: [32, 64]\n")
    assert read_run(tmp_path / "run").options == ModelOptions(image_size=(32, 64))


def test_a_tag_brings_its_preprocessing_which_flags_outdo(tmp_path, monkeypatch):
    register(write_twins(tmp_path / "twins"), monkeypatch.setitem, monkeypatch.setattr)
    run = read_run(write_run(tmp_path / "run", TWIN, pretrained=TAG, image_std=[1, 1, 1]))
    assert run.preprocessing() == ModelOptions(mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0))
    other = read_run(write_run(tmp_path / "other", TWIN, pretrained="weights.pt"))
    assert other.preprocessing() == ModelOptions()


@pytest.mark.parametrize(
    ("names", "last"),
    [
        (["epoch_1.pt", "epoch_2.pt"], "epoch_2.pt"),
        (["epoch_1.pt", "epoch_10.pt", "epoch_9.pt"], "epoch_10.pt"),  # a run that was cut off
        (["epoch_1.pt", "epoch_latest.pt"], "epoch_latest.pt"),
        (["epoch_1.pt", "epoch_12.pt", "epoch_latest.pt"], "epoch_12.pt"),
    ],
)
def test_the_last_checkpoint(names, last, tmp_path):
    folder = write_run(tmp_path / "long", "RN50", {name: {} for name in names}, epochs=12)
    run = read_run(folder)
    assert run.checkpoint().name == last
    assert run.checkpoint("epoch_1.pt") == folder / "checkpoints" / "epoch_1.pt"
    assert run.checkpoint(str(folder / "checkpoints" / "epoch_1.pt")).name == "epoch_1.pt"
    with pytest.raises(DataError, match=r"--pretrained epoch_77\.pt: no checkpoint of .*long: epoch_"):
        run.checkpoint("epoch_77.pt")


def test_a_checkpoint_knows_its_run(tmp_path):
    folder = write_run(tmp_path / "run", "RN50", {"epoch_1.pt": {}})
    found = run_of(folder / "checkpoints" / "epoch_1.pt")
    assert found is not None
    assert found.model == "RN50"
    assert run_of(tmp_path / "epoch_1.pt") is None


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"model": ""}, "no model there"),
        ({"precision": "int3"}, "precision must be one of fp32, .*, got 'int3'"),
        ({"force_quick_gelu": "maybe"}, "force_quick_gelu must be a value as Python prints it, got 'maybe'"),
        ({"force_quick_gelu": 3}, "force_quick_gelu must be True or False, got '3'"),
        ({"force_image_size": [1, 2, 3]}, "force_image_size must be one whole number or two"),
        ({"force_image_size": -1}, "force_image_size must be a whole number above 0"),
        ({"image_mean": ["a"]}, "image_mean must be a list of numbers"),
        ({"image_std": "__import__('os')"}, "image_std must be a value as Python prints it"),
    ],
)
def test_a_damaged_record_is_refused(parameters, message, tmp_path):
    model = parameters.pop("model", "RN50")
    with pytest.raises(DataError, match=message):
        read_run(write_run(tmp_path / "run", model, **parameters))


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"not the folder of a run \(logs/NAME\): no params.txt there"):
        read_run(tmp_path)
    with pytest.raises(DataError, match="no checkpoint in checkpoints/"):
        read_run(write_run(tmp_path / "run", "RN50")).checkpoint()
    (tmp_path / "run" / "params.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"params\.txt: cannot be read"):
        read_run(tmp_path / "run")


def test_results_by_epoch(tmp_path, caplog):
    rows = [{"a": 0.5, "epoch": 0}, {"a": 0.6, "epoch": 1}, {"b": 1, "epoch": 1}, {"a": 0.7, "epoch": 2}]
    lines = [*(json.dumps(row) for row in rows), "[1]", "{"]
    (tmp_path / "results.jsonl").write_text("\n".join(lines))
    with caplog.at_level(logging.WARNING):
        assert read_results(tmp_path, before=2) == {0: {"a": 0.5}, 1: {"a": 0.6, "b": 1.0}}
    assert ["line 5" in caplog.text, "line 6" in caplog.text] == [True, True]
    assert read_results(tmp_path / "nowhere", before=2) == {}
