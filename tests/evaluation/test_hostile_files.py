"""Files from elsewhere that evaluation reads: weights, model folders and sets, damaged or made to harm."""

import json
import os
import pickle
import shutil
import warnings
from pathlib import Path

import pytest
import torch

from sclip_plugin import cli
from sclip_plugin.data.shard_list import expand, look_up_sizes
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.models import load_model
from tests.evaluation.sets import classification_set, model_with_weights, retrieval_set
from tests.helpers.shards import write_tar


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return model_with_weights(tmp_path_factory.mktemp("hostile") / "model")


def said(capsys, words: list[str], status: int = 1) -> str:
    """The one line that the command ends with."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cli.main(words) == status
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


class Evil:
    """A pickle of this runs a command where it is loaded without care."""

    def __reduce__(self):
        return os.system, ("touch owned",)


def weights(kind: str, path: Path, model: str) -> str:
    """Write a weights file that cannot be used; returns what must be said of it."""
    state = load_model(model, None, "cpu", "fp32")[0].state_dict()
    whole = {
        "a pickle that runs a command": {"state_dict": Evil()},
        "a list": [1],
        "nothing": None,
        "no tensors": {},
        "names that are none": {1: torch.zeros(1)},
        "values that are none": dict.fromkeys(state, "x"),
        "numbers under state_dict": {"state_dict": 3},
        "another model's": {name: torch.zeros(7) for name in state},
        "part of the model": dict(list(state.items())[4:]),
        "a position table of no dimension": {**state, "positional_embedding": torch.zeros(())},
    }
    if kind in whole:
        torch.save(whole[kind], path)
    elif kind == "cut off":
        torch.save(state, path)
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.write_bytes({"empty": b"", "junk": bytes(range(256)), "a bare pickle": pickle.dumps(Evil())}[kind])
    if kind == "empty":
        return "empty file"
    if kind in ("junk", "a bare pickle", "cut off", "a pickle that runs a command"):
        return "damaged, or holds more than tensors, and is not loaded"
    fits = ("another model's", "part of the model", "a position table of no dimension")
    return "does not fit --model" if kind in fits else "holds no weights"


KINDS = (
    *("empty", "junk", "a bare pickle", "cut off", "a pickle that runs a command", "a list", "nothing", "no tensors"),
    *("names that are none", "values that are none", "numbers under state_dict", "another model's"),
    *("part of the model", "a position table of no dimension"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_cannot_be_used_are_refused_in_one_line(model, tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "w.pt"
    expected = weights(kind, file, model)
    sets = ["--retrieval", f"r={retrieval_set(tmp_path / 'r')}", "--device", "cpu"]
    line = said(capsys, ["eval", "--model", model, "--pretrained", str(file), *sets])
    assert f"--pretrained {file}: {expected}" in line
    line = said(capsys, ["wiseft", "--model", model, "--tuned", str(file), *sets, "--out", str(tmp_path / "o.pt")])
    assert f"--tuned {file}: {expected}" in line
    assert not (tmp_path / "owned").exists()  # what the pickle would have run


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz", "w.npy"])
@pytest.mark.parametrize("content", [b"", b"junk" * 100])
def test_damaged_files_of_other_formats(model, tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content)
    sets = ["--retrieval", f"r={retrieval_set(tmp_path / 'r')}", "--device", "cpu"]
    assert str(tmp_path / name) in said(capsys, ["eval", "--model", model, "--pretrained", str(tmp_path / name), *sets])


def test_a_models_own_weights_are_looked_at_too(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = Path(shutil.copytree(model.removeprefix("local-dir:"), tmp_path / "m"))
    (folder / "open_clip_model.safetensors").unlink()
    torch.save(Evil(), folder / "open_clip_pytorch_model.bin")
    sets = ["--retrieval", f"r={retrieval_set(tmp_path / 'r')}", "--device", "cpu"]
    line = said(capsys, ["eval", "--model", f"local-dir:{folder}", *sets])
    assert "open_clip_pytorch_model.bin: damaged, or holds more than tensors" in line
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("", "not a model's configuration"),
        ("[" * 100_000, "nested too deeply"),
        ("3", "model_cfg is missing"),
        ({"model_cfg": 3}, "model_cfg must be an object, got 3"),
        ({"embed_dim": "x"}, "model_cfg.embed_dim must be a whole number above 0, got 'x'"),
        ({"embed_dim": -5}, "model_cfg.embed_dim must be a whole number above 0, got -5"),
        ({"embed_dim": 10**30}, "model_cfg.embed_dim must be at most 10000000, got 1000000000"),
        ({"text_cfg": {"layers": 10**30}}, "model_cfg.text_cfg.layers must be at most 10000, got 1000000000"),
        ({"vision_cfg": 3}, "vision_cfg must be an object, got 3"),
        ({"text_cfg": []}, r"text_cfg must be an object, got []"),
        ({"zzz": 1}, "unexpected keyword argument 'zzz'"),
        ({"preprocess_cfg": 3}, "preprocess_cfg must be an object, got 3"),
        ({"preprocess_cfg": {"mean": "x"}}, "preprocess_cfg.mean must be a list of numbers, got 'x'"),
    ],
)
def test_a_wrongly_typed_model_configuration_is_refused(model, tmp_path, capsys, change, message):
    folder = Path(shutil.copytree(model.removeprefix("local-dir:"), tmp_path / "m"))
    config = json.loads((folder / "open_clip_config.json").read_text())
    if isinstance(change, dict):
        whole = set(change) & {"model_cfg", "preprocess_cfg"}
        config = {**config, **change} if whole else {"model_cfg": {**config["model_cfg"], **change}}
    (folder / "open_clip_config.json").write_text(json.dumps(config) if isinstance(change, dict) else change)
    sets = ["--retrieval", f"r={retrieval_set(tmp_path / 'r')}", "--device", "cpu"]
    line = said(capsys, ["eval", "--model", f"local-dir:{folder}", *sets])
    assert message in line
    assert str(folder) in line


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test/nshards.txt", b"200000000", "2.tar: missing, nshards.txt counts 200000000"),
        ("test/nshards.txt", b"1" * 5000, "nshards.txt: expected a number of shards, got '111"),
        ("test/nshards.txt", b"\xff", "nshards.txt: not UTF-8 text"),
        ("classnames.txt", b"", "classnames.txt: empty"),
        ("classnames.txt", b"\xff\xfe", "classnames.txt: not UTF-8 text"),
        ("classnames.txt", "tree\u2028s\nriver\nlot".encode(), "classnames.txt: line 1 holds a character that may end"),
        ("classnames.txt", b"tree\n\nriver\nlot", "classnames.txt: line 2 is blank"),
        ("classnames.txt", b"tree", "class '1' is not one of the 1 in classnames.txt"),
        ("dataset_type.txt", b"\xff", "dataset_type.txt: not UTF-8 text"),
    ],
)
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_damaged_set_is_refused_in_one_line(model, tmp_path, capsys, name, content, message, workers):
    folder = classification_set(tmp_path / "c")
    (folder / name).write_bytes(content)
    sets = ["--zeroshot", f"c={folder}", "--device", "cpu", "--workers", workers]
    assert message in said(capsys, ["eval", "--model", model, *sets])


def test_a_class_number_without_end_is_refused(model, tmp_path, capsys):
    folder = classification_set(tmp_path / "c")
    write_tar(folder / "test" / "0.tar", [("a.png", b"x"), ("a.cls", b"1" * 5000)])
    assert "class '111" in said(capsys, ["eval", "--model", model, "--zeroshot", f"c={folder}", "--device", "cpu"])


def test_shards_that_are_no_retrieval_set_are_called_so(model, tmp_path, capsys):
    folder = retrieval_set(tmp_path / "r") / "test"
    line = said(capsys, ["eval", "--model", model, "--retrieval", f"r={folder}", "--device", "cpu"])
    assert f"{folder}: without a dataset_type.txt it counts as a classification set, not one for retrieval" in line


@pytest.mark.parametrize("flag", ["--batch-size", "--workers", "--bootstrap"])
def test_numbers_without_end_are_refused(model, tmp_path, capsys, flag):
    words = ["eval", "--model", model, "--retrieval", f"r={retrieval_set(tmp_path / 'r')}", flag, "1" + 30 * "0"]
    assert f"{flag} must be at most" in said(capsys, words, status=2)


@pytest.mark.parametrize(
    "content",
    [
        *('{"0.tar": 1e400}', '{"0.tar": NaN}', '{"0.tar": 10000000000000000000000}', '{"0.tar": true}'),
        *('{"0.tar": 2.5}', '{"0.tar": -1}', '{"0.tar": [1]}', "[]", "3", "", "\xff", "[" * 100_000),
        '{"0.tar": ' + "1" * 5000 + "}",
    ],
)
def test_a_damaged_table_of_sizes_is_refused(tmp_path, content):
    write_tar(tmp_path / "0.tar", [("a.txt", b"x")])
    (tmp_path / "sizes.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"--train-data: .*sizes\.json"):
        look_up_sizes(expand(str(tmp_path), "--train-data"))


def test_inspect_refuses_them_too(model, shards, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    expected = weights("a pickle that runs a command", tmp_path / "w.pt", model)
    data = ["--train-data", str(shards / "paired"), "--unpaired-data", str(shards / "unpaired")]
    words = ["inspect", "--model", model, "--pretrained", str(tmp_path / "w.pt"), *data, "--out", "o.png"]
    assert f"--pretrained {tmp_path / 'w.pt'}: {expected}" in said(capsys, words)
    assert not (tmp_path / "owned").exists()
