"""Which commands a study consists of."""

import dataclasses
import json
import sys

import pytest

from sclip_plugin.commands.study import spec, steps
from sclip_plugin.errors import DataError


@pytest.fixture
def study(tmp_path):
    for name, shards, size in (("paired", 4, 25), ("unpaired", 8, 30)):
        folder = tmp_path / "o" / "shards" / name
        folder.mkdir(parents=True)
        for number in range(shards):
            (folder / f"{number:06d}.tar").touch()
        (folder / "sizes.json").write_text(json.dumps({f"{n:06d}.tar": size for n in range(shards)}))
    (tmp_path / "s.toml").write_text("""
steps = 20
threads = 1
[train]
model = "local-dir:$out/start"
train-data = "$out/shards/paired"
batch-size = 32
aug-cfg = ["scale=(0.5,1)", "color_jitter_prob=1"]
[train-sclip]
unpaired-data = "$out/shards/unpaired"
[arms.plain]
[arms.half]
paired-share = 0.5
[arms.full]
loss = "sclip"
unpaired-share = 0.25
zeroshot-data = ["a=b", "c=d"]
[arms.epochs]
loss = "sclip"
steps = 7
accum-freq = 2
[evaluate]
points = 2
workers = 3
zeroshot = { s = "$out/s" }
retrieval = { r = "$out/r" }
""")
    return spec.load(tmp_path / "s.toml", tmp_path / "o")


def flags(step, first):
    """{flag: its words} of a command, without its first words."""
    found, name = {}, None
    for word in step.command[first:]:
        if word.startswith("--"):
            name = word
            found.setdefault(name, [])
        else:
            found[name].append(word)
    return found


def step_of(study, arm, tmp_path):
    return steps.train_step(study, steps.StudyRun(study.arms[arm], 3), tmp_path / "o")


def test_training_commands(study, tmp_path):
    plain, full = step_of(study, "plain", tmp_path), step_of(study, "full", tmp_path)
    assert plain.command[:3] == ("python", "-m", "open_clip_train.main")
    words = flags(plain, 3)
    assert words["--train-data"] == [f"{tmp_path}/o/shards/paired/{{000000..000003}}.tar"]
    assert words["--dataset-type"] == ["webdataset"]
    assert (words["--epochs"], words["--save-frequency"], words["--seed"]) == (["5"], ["3"], ["3"])  # ceil(20 / 4)
    assert words["--aug-cfg"] == ["scale=(0.5,1)", "color_jitter_prob=1"]
    assert words["--name"] == ["plain-3"]
    assert plain.argv[:3] == [sys.executable, "-m", "sclip_plugin.commands.study.stock"]
    assert "open_clip_train.main" in plain.shown
    words = flags(full, 3)
    assert words["--unpaired-data"] == [f"{tmp_path}/o/shards/unpaired/{{000000..000001}}.tar"]
    assert words["--zeroshot-data"] == ["a=b", "c=d"]
    assert full.command.count("--zeroshot-data") == 2
    assert full.argv[1:3] == ["-m", "open_clip_train.main"]


def test_epochs_follow_from_steps(study):
    assert steps.epochs(study.arms["half"], 1) == 10  # 50 pairs, 2 steps each
    assert steps.epochs(study.arms["half"], 2) == 20  # 64 pairs a step
    assert steps.epochs(study.arms["epochs"], 1) == 4  # ceil(7 / ceil(100 / 64))
    fixed = dataclasses.replace(study.arms["half"], steps=None, flags={"epochs": 9})
    assert steps.epochs(fixed, 1) == 9


def test_checkpoints_and_evaluation(study, tmp_path):
    run = steps.StudyRun(study.arms["plain"], 3)
    files = steps.checkpoints(study, run, tmp_path / "o")
    assert [(n, file.name) for n, file in files] == [(3, "epoch_3.pt"), (5, "epoch_5.pt")]
    step = steps.eval_step(study, tmp_path / "o", run.name, run.arm, [file for _, file in files])
    assert step.command[2] == str(tmp_path / "o" / "runs" / run.name)
    words = flags(step, 3)
    assert words["--pretrained"] == ["epoch_3.pt", "epoch_5.pt"]
    assert not {"--model", "--precision"} & set(words)
    assert (words["--zeroshot"], words["--workers"]) == ([f"s={tmp_path}/o/s"], ["3"])
    assert step.argv[1:3] == ["-m", "sclip_plugin.cli"]


@pytest.mark.parametrize(("pretrained", "words"), [("openai", ["--pretrained", "openai"]), ("", []), (None, [])])
def test_the_start_model_is_evaluated_with_its_own_weights(study, tmp_path, pretrained, words):
    arm = study.arms["plain"]
    arm = dataclasses.replace(arm, flags=arm.flags | ({} if pretrained is None else {"pretrained": pretrained}))
    step = steps.eval_step(study, tmp_path / "o", "start", arm, [])
    assert step.command[2:6] == ("--model", arm.flags["model"], "--precision", "amp")
    assert list(step.command[6 : 6 + len(words)]) == words
    assert step.command.count("--pretrained") == len(words) // 2


def test_processes_run_under_torchrun(study, tmp_path):
    step = step_of(dataclasses.replace(study, processes=2), "full", tmp_path)
    assert step.command[:9] == (
        *("python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"),
        "open_clip_train.main",
    )


def test_a_share_that_is_no_number_of_shards(study, tmp_path):
    arm = dataclasses.replace(study.arms["full"], unpaired_share=0.3)
    with pytest.raises(DataError, match=r"arms\.full: a share of 0\.3 of 8 shards .* is not a whole number of them"):
        steps.train_step(study, steps.StudyRun(arm, 0), tmp_path / "o")


def test_shards_of_several_folders_and_odd_names():
    assert steps._braces(["a/03.tar", "a/04.tar"]) == "a/{03..04}.tar"
    assert steps._braces(["a/x.tar", "a/y.tar"]) == "a/{x.tar,y.tar}"
    assert steps._by_folder(["a/1.tar", "b/1.tar", "a/2.tar"]) == [["a/1.tar", "a/2.tar"], ["b/1.tar"]]


@pytest.mark.parametrize("flag", ["batch-size", "accum-freq", "train-num-samples"])
@pytest.mark.parametrize("value", ["many", [1, 2]])
def test_a_flag_that_is_no_number_is_refused_by_name(study, tmp_path, flag, value):
    arm = dataclasses.replace(study.arms["plain"], flags=study.arms["plain"].flags | {flag: value})
    with pytest.raises(DataError, match=rf"arms\.plain: {flag} must be a whole number from 1 to 2147483647, got "):
        steps.train_step(study, steps.StudyRun(arm, 0), tmp_path / "o")


def test_only_an_arm_without_a_loss_trains_by_stocks_loader(file, tmp_path):
    """The supervised baseline (`loss = "clip"`) reads the pairs as the S-CLIP arms do."""
    file.write_text(file.read_text().replace("[arms.plain]", '[arms.plain]\n[arms.fair]\nloss = "clip"'))
    study = spec.load(file, tmp_path / "out")
    found = {
        name: steps.train_step(study, steps.StudyRun(arm, 4), tmp_path / "out") for name, arm in study.arms.items()
    }
    assert {name for name, step in found.items() if step.module} == {"plain"}
    assert {name for name, step in found.items() if "--dataset-type" in step.command} == {"plain"}


def test_the_supervised_arms_of_shipped_studies_are_fair(tmp_path):
    for path in spec.shipped().values():
        arms = spec.load(path, tmp_path).arms
        assert all(arm.flags["loss"] in ("clip", "sclip") for arm in arms.values()), path
        assert all(arm.flags["loss"] == "clip" for name, arm in arms.items() if name.startswith("supervised")), path


def test_transfer_is_asked_of_every_model(study, tmp_path):
    asked = dataclasses.replace(study.evaluation, transfer={"knn": {"s": "S"}, "regions": {"p": "P"}}, shots=(1, 4))
    changed = dataclasses.replace(study, evaluation=asked)
    step = steps.eval_step(changed, tmp_path / "o", "plain-0", study.arms["plain"], [tmp_path / "epoch_1.pt"])
    words = flags(step, 3)
    assert words["--knn"] == ["s=S"]
    assert words["--regions"] == ["p=P"]
    assert words["--shots"] == ["1", "4"]
    assert {"S/train", "S/val", "P/images"} <= set(step.inputs)
