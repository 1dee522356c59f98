"""`sclip eval`, `inspect` and `wiseft` on the folder of a run; QuickGELU from training to evaluation."""

import json
import re

import pytest
import torch

from sclip_plugin import cli
from sclip_plugin.evaluation.models import load_model
from tests.evaluation.sets import model_with_weights, retrieval_set
from tests.helpers.quickgelu import PLAIN, TAG, TWIN, register, write_twins
from tests.helpers.runs import write_run
from tests.helpers.sets import write_retrieval_set
from tests.helpers.training import run_training, train_arguments


@pytest.fixture
def twins(tmp_path, monkeypatch):
    folder = write_twins(tmp_path / "twins")
    register(folder, monkeypatch.setitem, monkeypatch.setattr)
    return folder


def measured(tmp_path, *words) -> dict[str, float]:
    assert cli.main(["eval", *map(str, words), "--device", "cpu", "--json", str(tmp_path / "o.json")]) == 0
    (record,) = json.loads((tmp_path / "o.json").read_text())["results"]
    return record["metrics"]


def refusal(capsys, code, *words) -> str:
    capsys.readouterr()
    assert cli.main([str(word) for word in words]) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.mark.slow
def test_from_training_to_evaluation_under_both_names(twins, shards, tmp_path, capsys):
    """A tag with its own preprocessing; both names are trained, and the folder gives what training measured."""
    val = write_retrieval_set(tmp_path / "val", 30)
    for name in (PLAIN, TWIN):
        arguments = train_arguments(
            shards, name, tmp_path, name=name, pretrained=TAG, precision="amp_bf16", val_data=val, lr=1e-2
        )
        run = run_training(arguments, processes=2, module="twins", env={"PYTHONPATH": f"{twins}:."})
        assert run.returncode == 0, run.stdout[-3000:]
        told = re.findall(f"sclip_plugin: --model .* has GELU, but --pretrained {TAG} .*", run.stdout)
        assert len(told) == (1 if name == PLAIN else 0)  # on the first rank, once
        assert all(line.endswith(f"use --model {TWIN}") for line in told)
        rows = (tmp_path / name / "checkpoints" / "results.jsonl").read_text().splitlines()
        sets = ("--retrieval", f"val={val}")
        found = measured(tmp_path, tmp_path / name, *sets)
        assert found.items() <= json.loads(rows[-1]).items()
        assert f"--model {name} --precision amp_bf16, as recorded" in capsys.readouterr().out

    checkpoint = tmp_path / TWIN / "checkpoints" / "epoch_1.pt"
    plain = measured(tmp_path, "--model", TWIN, "--pretrained", checkpoint, "--precision", "amp_bf16", *sets)
    assert plain != found  # the checkpoint alone does not know the tag's preprocessing
    run = tmp_path / TWIN
    line = refusal(capsys, 2, "eval", run, "--model", PLAIN, *sets)
    assert f"--model {PLAIN}: {run} was trained with another, --model {TWIN}; leave the flag out" in line
    line = refusal(capsys, 2, "eval", run, "--precision", "fp32", *sets)
    assert f"--precision fp32: {run} was trained with --precision amp_bf16" in line
    line = refusal(capsys, 2, "eval", "--model", PLAIN, "--pretrained", checkpoint, *sets)
    assert f"--model {PLAIN} has GELU, but --pretrained {checkpoint} was trained with --model {TWIN}, which has" in line
    assert line.endswith("QuickGELU; name the run's folder in place of --model and --pretrained")
    assert measured(tmp_path, run, "--model", TWIN, "--precision", "amp_bfloat16", *sets) == found


def state(folder, seed) -> dict:
    return load_model(model_with_weights(folder, seed), None, "cpu", "fp32")[0].state_dict()


@pytest.fixture
def run(tmp_path):
    """A run with two epochs, from the weights of its model's folder."""
    model = model_with_weights(tmp_path / "model")
    files = {f"epoch_{n}.pt": state(tmp_path / f"other{n}", seed=n) for n in (1, 2)}
    return write_run(tmp_path / "logs" / "run", model, files)


def test_the_last_checkpoint_or_a_named_one(run, tmp_path, capsys):
    sets = ("--retrieval", f"val={retrieval_set(tmp_path / 'r', 20)}")
    last = measured(tmp_path, run, *sets)
    assert "checkpoint: " in capsys.readouterr().out
    assert json.loads((tmp_path / "o.json").read_text())["pretrained"].endswith("epoch_2.pt")
    first = measured(tmp_path, run, "--pretrained", "epoch_1.pt", *sets)
    assert last == measured(tmp_path, run, "--pretrained", run / "checkpoints" / "epoch_2.pt", *sets)
    model = f"local-dir:{tmp_path / 'model'}"
    assert first == measured(tmp_path, "--model", model, "--pretrained", run / "checkpoints" / "epoch_1.pt", *sets)
    assert first != last
    assert "--pretrained epoch_3.pt: no checkpoint of" in refusal(
        capsys, 1, "eval", run, "--pretrained", "epoch_3.pt", *sets
    )


def test_forced_preprocessing_and_activation_are_taken_over(run, tmp_path):
    sets = ("--retrieval", f"val={retrieval_set(tmp_path / 'r', 20)}")
    found = measured(tmp_path, run, *sets)
    parameters = run / "params.txt"
    for old, new in (
        ("image_mean: None", "image_mean: [3, 3, 3]"),
        ("force_quick_gelu: False", "force_quick_gelu: True"),
        ("image_resize_mode: None", "image_resize_mode: squash"),  # square pictures: no difference
    ):
        parameters.write_text(parameters.read_text().replace(old, new))
        other = measured(tmp_path, run, *sets)
        assert (other == found) == ("resize" in old)
        found = other


def test_a_model_folder_that_has_moved(run, tmp_path, capsys, caplog):
    sets = ("--retrieval", f"val={retrieval_set(tmp_path / 'r')}")
    found = measured(tmp_path, run, *sets)
    (tmp_path / "model").rename(tmp_path / "moved")
    line = refusal(capsys, 1, "eval", run, *sets)
    assert f"its --model local-dir:{tmp_path / 'model'} is not there; pass --model" in line
    assert measured(tmp_path, run, "--model", f"local-dir:{tmp_path / 'moved'}", *sets) == found
    assert "is taken unseen" in caplog.text


def test_what_names_no_model_is_refused(tmp_path, capsys):
    assert "no model: pass RUN, the folder of a run, or --model" in refusal(capsys, 2, "eval", "--retrieval", "a=b")
    line = refusal(capsys, 2, "eval", tmp_path, "--retrieval", "a=b")
    assert f"{tmp_path}: not the folder of a run" in line


def test_inspect(run, shards, tmp_path, capsys):
    words = ["--train-data", str(shards / "paired"), "--unpaired-data", str(shards / "unpaired"), "--device", "cpu"]
    words += ["--pairs", "16", "--out", str(tmp_path / "panel.html")]
    assert cli.main(["inspect", str(run), *words]) == 0
    assert "epoch_2.pt" in (tmp_path / "panel.html").read_text()
    assert "no model: pass RUN" in refusal(capsys, 2, "inspect", *words)
    assert "was trained with another" in refusal(capsys, 2, "inspect", run, "--model", "RN50", *words)


def test_wiseft_from_the_start_to_the_last_checkpoint(run, tmp_path, capsys):
    sets = ["--retrieval", f"val={retrieval_set(tmp_path / 'r')}", "--device", "cpu", "--alphas", "0,1"]
    out = ["--json", str(tmp_path / "w.json"), "--out", str(tmp_path / "w.pt")]
    assert cli.main(["wiseft", str(run), *sets, *out]) == 0
    report = json.loads((tmp_path / "w.json").read_text())
    assert report["start"] is None  # the folder's own weights
    assert report["tuned"] == str(run / "checkpoints" / "epoch_2.pt")
    chosen = torch.load(tmp_path / "w.pt", weights_only=True)["state_dict"]
    ends = {0.0: state(tmp_path / "start", 0), 1.0: state(tmp_path / "tuned", 2)}
    assert all(torch.equal(value, ends[report["chosen"]][name]) for name, value in chosen.items())

    assert cli.main(["wiseft", str(run), "--tuned", "epoch_1.pt", *sets, *out]) == 0
    assert json.loads((tmp_path / "w.json").read_text())["tuned"].endswith("epoch_1.pt")
    assert "no tuned model: pass RUN" in refusal(
        capsys, 2, "wiseft", "--model", f"local-dir:{tmp_path / 'model'}", *sets, *out
    )
    random = write_run(tmp_path / "random", "RN50", {"epoch_1.pt": {}})
    assert "began with random weights; pass --start" in refusal(capsys, 2, "wiseft", random, *sets, *out)


def test_wiseft_starts_from_the_recorded_tag(twins, tmp_path):
    weights = torch.load(twins / "weights.pt", weights_only=True)
    run = write_run(tmp_path / "run", TWIN, {"epoch_2.pt": weights}, pretrained=TAG)
    sets = ["--retrieval", f"val={retrieval_set(tmp_path / 'r')}", "--device", "cpu", "--alphas", "0,1"]
    assert cli.main(["wiseft", str(run), *sets, "--json", str(tmp_path / "w.json")]) == 0
    report = json.loads((tmp_path / "w.json").read_text())
    assert report["start"] == TAG
    one, other = (point["results"][0]["metrics"] for point in report["points"])
    assert one == other  # the run has changed nothing
