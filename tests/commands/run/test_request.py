"""What `sclip run` refuses before it runs anything, and what it takes where nothing is said."""

import shutil

import pytest

from sclip_plugin import cli
from sclip_plugin.shards import next_steps
from tests.commands.run.parsing import parsed


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--arms", "supervised,best"], 2, "--arms: no arm 'best'; there are supervised, trusted, trusted-captions"),
        (["--keywords", "ROOT/w.txt", "--arms", "supervised"], 2, "--keywords does nothing with --arms supervised"),
        (["--keywords", "ROOT/none.txt"], 1, "none.txt"),
        (["--val", "ROOT/nowhere"], 1, "nowhere: no such folder"),
        (["--test", "t=ROOT/empty"], 1, "empty/test: nshards.txt is missing"),
        (["--test", "val=ROOT/t"], 2, "--val, --test: 2 sets are called val; name them apart: NAME=DIR"),
        (["--test", "t=ROOT/shards/../shards/val"], 2, "is a validation set, by which the model is chosen"),
        (["--val", "c=ROOT/c", "--by", "d"], 2, "--by d: not one of the validation sets val, c"),
        (["--batch-size", "41"], 2, "--batch-size 41: there are only 40 pairs"),
        (["--batch-size", "0"], 2, "--batch-size must be at least 1, got 0"),
        (["--epochs", "2000000"], 2, "--epochs must be at most 1000000, got 2000000"),
        (["--lr", "nan"], 2, "--lr must be a number above 0, got nan"),
        (["--seed", "-1"], 2, "--seed must be from 0 to 2147483647, got -1"),
        (["--language", "xx"], 2, "--language: no stop-word list for 'xx'"),
        (["--license", "my own"], 2, "--license must be an identifier such as mit or cc-by-4.0"),
        (["--out", "ROOT/w.txt"], 2, "w.txt: is a file"),
        (["--device", "abacus"], 2, "--device abacus: torch knows no such device"),
        (["--pretrained", "openai"], 2, "--pretrained does nothing with --model local-dir:"),
        (["--model", "ViT-B-32"], 2, "--pretrained is missing: --model ViT-B-32 alone has random weights"),
        (["--model", "ViT-B-33", "--pretrained", "openai"], 1, "open_clip has no such model; the nearest are ViT-B-32"),
        (["--model", "local-dir:ROOT/empty"], 1, "open_clip_config.json"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(command, root, played, capsys, words, status, message):
    (root / "w.txt").write_text("tree\n")
    (root / "empty").mkdir()
    assert cli.main([*command, *(word.replace("ROOT", str(root)) for word in words)]) == status
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert message in err
    assert played.argvs == []
    assert not (root / "out").exists()


def test_a_gpu_that_is_not_there_is_refused(command, played, capsys, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.main([*command, "--device", "cuda"]) == 2
    assert "--device cuda: torch sees no GPU here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("paired", "no folder paired/ there; sclip convert writes it"),
        ("unpaired", "no folder unpaired/ there; sclip convert writes it"),
        ("val", "no val/ there to choose by: convert with --val-ratio, or name a set with --val"),
        ("paired/*", "holds no *.tar"),
        ("unpaired/*", "holds no *.tar"),
    ],
)
def test_shards_that_lack_something(command, root, capsys, part, message):
    for path in (root / "shards").glob(part):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert cli.main(command) == 1
    assert message in capsys.readouterr().err


def test_a_set_of_another_place_may_stand_for_val(command, root, played):
    shutil.rmtree(root / "shards" / "val")
    assert cli.main([*command, "--val", f"c={root / 'c'}"]) == 0
    train = played.argvs[3]
    assert f"c={root / 'c'}" in train
    assert "--val-data" not in train


def test_the_defaults_fit_the_data_and_the_machine(root, monkeypatch):
    words = [str(root / "shards"), "--model", f"local-dir:{root / 'model'}"]
    monkeypatch.setattr(next_steps, "gpu_count", lambda: 0)
    monkeypatch.setattr("sclip_plugin.commands.run.request.gpu_count", lambda: 0)
    found = parsed(words)
    assert (found.device, found.precision, found.processes) == ("cpu", "fp32", 1)
    assert (found.schedule.batch_size, found.schedule.epochs) == (32, 100)
    assert [one.name for one in found.validation] == ["val"]
    monkeypatch.setattr("sclip_plugin.commands.run.request.gpu_count", lambda: 2)
    found = parsed(words)
    assert (found.device, found.precision, found.processes) == ("cuda", "amp", 2)
    assert found.schedule.batch_size == 16
    found = parsed([*words, "--device", "cpu", "--batch-size", "8", "--epochs", "3", "--precision", "amp_bf16"])
    assert (found.device, found.precision, found.processes) == ("cpu", "amp_bf16", 1)
    assert (found.schedule.batch_size, found.schedule.epochs, found.schedule.warmup) == (8, 3, 1)
