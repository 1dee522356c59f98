"""Weights between two models: the line, the choice, the checkpoint that plain open_clip loads."""

import argparse
import copy
import json

import pytest
import torch

from sclip_plugin import cli
from sclip_plugin.commands import wiseft
from sclip_plugin.commands.wiseft.interpolate import Point, choose, interpolate
from sclip_plugin.evaluation.models import load_model
from tests.evaluation.sets import model_with_weights
from tests.helpers.sets import write_classification_set, write_retrieval_set


def test_line_between_two_models():
    start = {"w": torch.tensor([0.0, 2.0]), "half": torch.tensor([1.0]).half(), "count": torch.tensor(3)}
    tuned = {"w": torch.tensor([1.0, 6.0]), "half": torch.tensor([2.0]).half(), "count": torch.tensor(9)}
    found = interpolate(start, tuned, 0.25)
    assert found["w"].tolist() == [0.25, 3.0]
    assert (found["half"].item(), found["half"].dtype) == (1.25, torch.float16)
    assert found["count"] == 9
    assert all(torch.equal(interpolate(start, tuned, 0)[name], start[name]) for name in ("w", "half"))
    assert all(torch.equal(tensor, tuned[name]) for name, tensor in interpolate(start, tuned, 1).items())
    with pytest.raises(ValueError, match="alpha must be from 0 to 1, got 1.5"):
        interpolate(start, tuned, 1.5)
    with pytest.raises(ValueError, match="the models differ in w"):
        interpolate(start, {**tuned, "w": torch.zeros(3)}, 0.5)


def test_choice_is_the_best_that_keeps_the_floor():
    points = [Point(0, {"own": 0.2, "other": 0.9}), Point(0.5, {"own": 0.5, "other": 0.8})]
    points.append(Point(1, {"own": 0.7, "other": 0.3}))
    assert choose(points, ["own"], {}).alpha == 1
    assert choose(points, ["own"], {"other": 0.15}).alpha == 0.5
    assert choose(points, ["own"], {"other": 0.05}).alpha == 0
    assert choose(points, ["own", "other"], {}).alpha == 0.5
    nan = [Point(0, {"own": float("nan")})]
    assert choose(nan, ["own"], {}) is None
    tie = [Point(0, {"own": 0.5}), Point(1, {"own": 0.5})]
    assert choose(tie, ["own"], {}).alpha == 0


@pytest.fixture
def models(tmp_path):
    start = model_with_weights(tmp_path / "start", seed=0)
    tuned = load_model(model_with_weights(tmp_path / "tuned", seed=1), None, "cpu", "fp32")[0].state_dict()
    torch.save({"epoch": 1, "state_dict": {f"module.{k}": v for k, v in tuned.items()}}, tmp_path / "tuned.pt")
    return start, str(tmp_path / "tuned.pt"), tuned


def test_command_writes_what_it_chose(models, tmp_path, capsys):
    start, tuned, state = models
    sets = ["--retrieval", f"val={write_retrieval_set(tmp_path / 'val', 9)}"]
    sets += ["--zeroshot", f"things={write_classification_set(tmp_path / 'things', 8)}", "--device", "cpu"]
    common = ["wiseft", "--model", start, "--tuned", tuned, *sets, "--alphas", "0.5,1"]
    out = ["--out", str(tmp_path / "w.pt"), "--json", str(tmp_path / "w.json"), "--plot", str(tmp_path / "w.png")]
    assert cli.main([*common, *out, "--by", "val", "--floor", "things=100"]) == 0
    report = json.loads((tmp_path / "w.json").read_text())
    assert [point["alpha"] for point in report["points"]] == [0, 0.5, 1]  # the start is always measured
    first = load_model(start, None, "cpu", "fp32")[0].state_dict()
    expected = interpolate(first, state, report["chosen"])
    chosen = load_model(start, str(tmp_path / "w.pt"), "cpu", "fp32")[0].state_dict()
    assert all(torch.equal(chosen[name], tensor) for name, tensor in expected.items())
    assert cli.main([*common[:-1], "1", "--out", str(tmp_path / "w.safetensors")]) == 0
    assert cli.main(["eval", "--model", start, "--pretrained", str(tmp_path / "w.safetensors"), *sets]) == 0
    assert "chosen: alpha" in capsys.readouterr().out


def test_the_parsed_arguments_stay_as_they_are(models, tmp_path):
    parser = argparse.ArgumentParser()
    wiseft.add_arguments(parser)
    sets = ["--retrieval", f"val={write_retrieval_set(tmp_path / 'val', 9)}", "--device", "cpu"]
    words = ["--model", models[0], "--tuned", models[1], *sets, "--alphas", "1", "--json", str(tmp_path / "w.json")]
    args = parser.parse_args(words)
    before = copy.deepcopy(vars(args))
    assert wiseft.run(args) == 0
    assert vars(args) == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "nothing to write: pass --out FILE"),
        (["--out", "w.bin"], "--out w.bin: the name must end in .pt or .safetensors"),
        (["--out", "w.pt", "--alphas", "0,2"], "--alphas must be from 0 to 1"),
        (["--out", "w.pt", "--alphas", "a"], "--alphas must be numbers"),
        (["--out", "w.pt", "--by", "z"], "--by z: not one of val"),
        (["--out", "w.pt", "--floor", "val"], "--floor must be SET=POINTS, got 'val'"),
        (["--out", "w.pt", "--floor", "z=1"], "--floor z=1: z must be one of val"),
    ],
)
def test_command_refuses(models, tmp_path, capsys, more, message):
    sets = ["--retrieval", f"val={tmp_path}"]
    assert cli.main(["wiseft", "--model", models[0], "--tuned", models[1], *sets, *more]) == 2
    assert message in capsys.readouterr().err


def test_a_full_disk_under_the_chosen_weights_leaves_nothing(tmp_path, capsys, monkeypatch):
    model, sets = model_with_weights(tmp_path / "m"), write_retrieval_set(tmp_path / "r", 3)
    tuned = tmp_path / "m" / "open_clip_model.safetensors"
    (tmp_path / "o").mkdir()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    words = ["--model", model, "--tuned", str(tuned), "--retrieval", f"r={sets}", "--alphas", "0", "--device", "cpu"]
    for name in ("w.pt", "w.safetensors"):
        assert cli.main(["wiseft", *words, "--out", str(tmp_path / "o" / name)]) == 1
        assert capsys.readouterr().err == f"sclip wiseft: {tmp_path / 'o' / name}: No space left on device\n"
    assert list((tmp_path / "o").iterdir()) == []
