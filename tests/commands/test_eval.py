"""`sclip eval` as a command; what it measures is tested in tests/evaluation."""

import argparse
import copy
import json

import numpy as np
import pytest
import torch

from sclip_plugin import cli
from sclip_plugin.commands import eval as command
from sclip_plugin.evaluation.models import load_model
from sclip_plugin.evaluation.names import PRECISIONS
from tests.evaluation.sets import classification_set, model_with_weights, region_set, retrieval_set


@pytest.fixture(scope="module")
def model_name(tmp_path_factory):
    return model_with_weights(tmp_path_factory.mktemp("model"))


@pytest.fixture
def words(tmp_path) -> list[str]:
    """A command line without its first word."""
    sets = [
        "--zeroshot",
        f"c={classification_set(tmp_path / 'c')}",
        "--retrieval",
        f"r={retrieval_set(tmp_path / 'r')}",
    ]
    return ["--model", model_with_weights(tmp_path / "model"), *sets, "--device", "cpu"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_of_training_is_taken(words, tmp_path, precision):
    assert cli.main(["eval", *words, "--precision", precision, "--json", str(tmp_path / "o.json")]) == 0
    report = json.loads((tmp_path / "o.json").read_text())
    assert report["precision"] == precision
    assert all(0 <= value <= 1 for record in report["results"] for value in record["metrics"].values())


def test_the_parsed_arguments_stay_as_they_are(words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(words)
    before = copy.deepcopy(vars(args))
    assert command.run(args) == 0
    assert vars(args) == before


def test_command_prints_and_writes(model_name, tmp_path, capsys):
    """With a training checkpoint, keys prefixed as DDP's are; the same figures as from the folder's own weights."""
    weights = {
        "module." + key: value for key, value in load_model(model_name, None, "cpu", "fp32")[0].state_dict().items()
    }
    torch.save({"epoch": 1, "name": "run", "state_dict": weights, "optimizer": {}}, tmp_path / "epoch_1.pt")
    sets = [
        "--zeroshot",
        f"themes={classification_set(tmp_path / 'c')}",
        "--retrieval",
        f"val={retrieval_set(tmp_path / 'r')}",
    ]
    assert (
        cli.main(["eval", "--model", model_name, *sets, "--device", "cpu", "--json", str(tmp_path / "own.json")]) == 0
    )
    other = ["--pretrained", str(tmp_path / "epoch_1.pt"), "--json", str(tmp_path / "out" / "checkpoint.json")]
    assert cli.main(["eval", "--model", model_name, *sets, "--device", "cpu", *other]) == 0
    own, tuned = (json.loads((tmp_path / name).read_text()) for name in ("own.json", "out/checkpoint.json"))
    assert own["results"] == tuned["results"]
    assert [record["dataset"] for record in own["results"]] == ["themes", "val"]
    assert {"acc1", "acc5", "mean_per_class_recall"} == set(own["results"][0]["metrics"])
    printed = capsys.readouterr().out
    assert "text R@10" in printed
    assert "themes" in printed


def test_several_checkpoints_with_intervals_and_ranks(model_name, tmp_path, capsys):
    state = load_model(model_name, None, "cpu", "fp32")[0].state_dict()
    generator = torch.Generator().manual_seed(1)
    other = {k: v + torch.randn(v.shape, generator=generator) if v.is_floating_point() else v for k, v in state.items()}
    files = [str(tmp_path / name) for name in ("a.pt", "b.pt")]
    for file, weights in zip(files, (state, other)):
        torch.save(weights, file)
    sets = [
        "--zeroshot",
        f"x={classification_set(tmp_path / 'c')}",
        "--retrieval",
        f"x={retrieval_set(tmp_path / 'r')}",
    ]
    outputs = ["--json", str(tmp_path / "o.json"), "--ranks", str(tmp_path / "o.npz"), "--bootstrap", "50"]
    chosen = [word for file in files for word in ("--pretrained", file)]
    assert cli.main(["eval", "--model", model_name, *chosen, *sets, *outputs, "--device", "cpu"]) == 0
    report = json.loads((tmp_path / "o.json").read_text())
    assert report["pretrained"] == files
    assert [record["pretrained"] for record in report["results"]] == [files[0]] * 2 + [files[1]] * 2
    for record in report["results"]:
        assert record["bootstrap"] == 50
        for name, value in record["metrics"].items():
            low, high = record["intervals"][name]
            assert 0 <= low <= value <= high <= 1
    with np.load(tmp_path / "o.npz") as ranks:
        for file, record in zip((files[0], files[1]), report["results"][::2]):
            assert (ranks[f"{file}/x/class"] == 0).mean() == pytest.approx(record["metrics"]["acc1"])
            assert np.bincount(ranks[f"{file}/x/owner"]).tolist() == [1, 3, 2, 1, 2, 1, 3]
    assert "95% interval" in capsys.readouterr().out


def test_folders_name_themselves_and_one_flag_takes_several(model_name, tmp_path, capsys):
    folders = [str(classification_set(tmp_path / name)) for name in ("first", "other")]
    words = ["--zeroshot", folders[0], f"second={folders[1]}", "--retrieval", f"{retrieval_set(tmp_path / 'val')}/"]
    output = ["--json", str(tmp_path / "o.json"), "--device", "cpu"]
    assert cli.main(["eval", "--model", model_name, *words, *output]) == 0
    report = json.loads((tmp_path / "o.json").read_text())
    assert [record["dataset"] for record in report["results"]] == ["first", "second", "val"]


def test_frozen_features_and_regions_in_table_json_and_ranks(model_name, tmp_path, capsys):
    folder, regions = str(classification_set(tmp_path / "c")), str(region_set(tmp_path / "regions"))
    words = ["--knn", f"x={folder}", "--linear-probe", f"x={folder}", "--zeroshot", f"x={folder}", "--regions", regions]
    output = ["--json", str(tmp_path / "o.json"), "--ranks", str(tmp_path / "o.npz"), "--shots", "1", "--device", "cpu"]
    assert cli.main(["eval", "--model", model_name, *words, *output, "--bootstrap", "20"]) == 0
    table = capsys.readouterr().out
    for title in ("knn acc1", "lp mean per class recall", "x, 1 a class", "region R@1", "caption R@1"):
        assert title in table
    records = json.loads((tmp_path / "o.json").read_text())["results"]
    assert [(one["task"], one.get("settings", {}).get("fewshot_k")) for one in records] == [
        ("zeroshot_classification", None),
        ("knn", -1),
        ("knn", 1),
        ("linear_probe", -1),
        ("linear_probe", 1),
        ("region_retrieval", None),
    ]
    with np.load(tmp_path / "o.npz") as ranks:
        assert {"x/class", "x/knn/class", "x/knn-1/class", "x/linear-probe-1/class", "regions/regions/picture"} <= set(
            ranks
        )
        assert (ranks["x/knn/class"] == 0).mean() == pytest.approx(records[1]["metrics"]["knn_acc1"])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--model", "ViT-B-32", "--retrieval", "a=b"], 2, "--pretrained is missing"),
        (["--model", "local-dir:{m}"], 2, "nothing to evaluate"),
        (["--model", "local-dir:{m}", "--retrieval", "folder"], 1, "evaluation set folder: no such folder"),
        (["--model", "local-dir:{m}", "--retrieval", "=folder"], 2, "must be NAME=DIR or DIR, got '=folder'"),
        (["--model", "local-dir:{m}", "--zeroshot", ""], 2, "--zeroshot must be NAME=DIR or DIR, got ''"),
        (["--model", "local-dir:{m}", "--retrieval", "{r}", "{r}"], 2, "--retrieval r is given twice"),
        (["--model", "local-dir:{m}", "--retrieval", "{r}", "--shots", "1"], 2, "--shots does nothing without --knn"),
        (["--model", "local-dir:{m}", "--knn", "a=b", "--shots", "1", "0"], 2, "--shots must be from 1 to 100000, got"),
        (["--model", "local-dir:{m}", "--knn", "{r}"], 1, "makes it a retrieval set, not one for classification"),
        (["--model", "local-dir:{m}", "--regions", "a={r}"], 1, "region set {r}: annotations.json is missing"),
        (["--model", "local-dir:{m}", "--retrieval", "a=b", "--batch-size", "0"], 2, "--batch-size must be at least 1"),
        (["--model", "local-dir:{m}", "--retrieval", "a={r}", "--bootstrap", "1"], 2, "--bootstrap must be at least 2"),
        (["--model", "local-dir:{m}", "--retrieval", "a={r}", "--ranks", "o.json"], 2, "must end in .npz"),
        (["--model", "local-dir:{m}", "--retrieval", "a=b", "--retrieval", "a=c"], 2, "--retrieval a is given twice"),
        (["--model", "local-dir:nowhere", "--retrieval", "a=b"], 1, "no open_clip_config.json there"),
        (["--model", "local-dir:{m}", "--retrieval", "a=nowhere"], 1, "nowhere: no such folder"),
        (["--model", "local-dir:{m}", "--pretrained", "no.pt", "--retrieval", "a={r}"], 1, "no.pt"),
        (
            ["--model", "ViT-B32", "--pretrained", "x", "--retrieval", "a={r}"],
            1,
            "--model ViT-B32: open_clip has no such model; the nearest are ViT-B-32, ",
        ),
        (
            ["--model", "ViT-B-32", "--pretrained", "openia", "--retrieval", "a={r}"],
            1,
            "--pretrained openia: no such file, and --model ViT-B-32 has no such tag; the nearest are openai, ",
        ),
    ],
)
def test_command_refuses(model_name, tmp_path, capsys, arguments, code, message):
    places = {"{m}": model_name.removeprefix("local-dir:"), "{r}": str(retrieval_set(tmp_path / "r"))}
    for mark, value in places.items():
        arguments, message = [one.replace(mark, value) for one in arguments], message.replace(mark, value)
    assert cli.main(["eval", *arguments]) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_local_dir_without_weights(tiny_model, capsys):
    assert cli.main(["eval", "--model", tiny_model, "--retrieval", "a=b"]) == 1
    assert "no weights there; pass --pretrained" in capsys.readouterr().err
