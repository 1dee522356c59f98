"""Real runs of open_clip's training command in several processes (torchrun, gloo): equal curves, options, deaths."""

import re

import pytest
import torch

from tests.helpers.models import write_model
from tests.helpers.sets import write_retrieval_set
from tests.helpers.shards import write_shards, write_tar
from tests.helpers.training import losses, run_training, train_arguments

pytestmark = pytest.mark.slow


def train(shards, model, folder, processes, env=None, module="open_clip_train.main", **flags):
    run = run_training(train_arguments(shards, model, folder, **flags), processes, module=module, env=env)
    assert run.returncode == 0, run.stdout[-3000:]
    return losses(run.stdout)


def weights(folder, epoch):
    saved = torch.load(folder / "run" / "checkpoints" / f"epoch_{epoch}.pt", weights_only=True)
    return {name.removeprefix("module."): tensor for name, tensor in saved["state_dict"].items()}


@pytest.fixture(scope="module")
def whole_set(shards, tiny_model, tmp_path_factory):
    """(run, its results in one process). Every step sees all 40 pairs and all 60 unpaired images, uncropped; a large
    epsilon keeps AdamW from turning rounding into steps. A run gives its losses and its weights after 1 and 5 epochs.
    """

    def run(processes, batch_size, unpaired, **flags):
        folder = tmp_path_factory.mktemp("curve")
        sizes = {"batch_size": batch_size, "unpaired_batch_size": unpaired}
        optimizer = {"epochs": 5, "lr": 0.05, "eps": 0.1, "wd": 0}
        arguments = train_arguments(shards, tiny_model, folder, **sizes, **optimizer, **flags)
        done = run_training([*arguments, "--aug-cfg", "scale=(1.0,1.0)"], processes)
        assert done.returncode == 0, done.stdout[-3000:]
        return losses(done.stdout), weights(folder, 1), weights(folder, 5)

    return run, run(1, 40, 60)


@pytest.mark.parametrize(
    ("processes", "batch_size", "unpaired", "flags"),
    [
        (2, 20, 30, {"gather_with_grad": True}),
        (2, 10, 15, {"gather_with_grad": True, "local_loss": True, "accum_freq": 2}),
        (4, 10, 15, {"gather_with_grad": True, "local_loss": True}),
    ],
    ids=["2-gathered", "2-local-accumulated", "4-local"],
)
def test_the_same_training_as_in_one_process(processes, batch_size, unpaired, flags, whole_set):
    run, (expected, first, last) = whole_set
    found, _, weights = run(processes, batch_size, unpaired, **flags)
    assert len(found) == len(expected) == 5
    assert expected[-1]["Loss"] < expected[0]["Loss"]
    if "local_loss" not in flags:  # there the first rank logs its own rows' part of the loss
        assert [row["Loss"] for row in found] == pytest.approx([row["Loss"] for row in expected], rel=1e-4)
    for name, tensor in last.items():
        moved = (tensor - first[name]).abs().max()
        assert (weights[name] - tensor).abs().max() <= 1e-3 * moved, name


SPY = """
import os, runpy, signal, sys
import torch
sys.argv[0] = "spy"
compile = torch.compile
torch.compile = lambda model: compile(model, backend="eager")  # captures the same graphs; code generation takes minutes
forward = torch.nn.Module.__call__
calls = 0
def spy(self, *args, **kwargs):
    global calls
    if type(self).__name__ == "SClipLoss":
        calls += 1
        if os.environ["RANK"] == os.environ.get("KILL_RANK") and calls == int(os.environ["KILL_AT"]):
            os.kill(os.getpid(), signal.SIGKILL)
    return forward(self, *args, **kwargs)
torch.nn.Module.__call__ = spy
runpy.run_module("open_clip_train.main", run_name="__main__")
"""


@pytest.fixture
def spied(tmp_path):
    """Environment in which `-m spy` runs the training command: a cheap compiler, and death at a loss's n-th call."""
    (tmp_path / "spy.py").write_text(SPY)
    return {"PYTHONPATH": str(tmp_path)}


CASES = {
    "local accumulation amp_bf16 one-keyword": {
        "local_loss": True,
        "gather_with_grad": True,
        "accum_freq": 2,
        "batch_size": 4,
        "precision": "amp_bf16",
        "keywords": ["tree"],
    },
    "bf16 checkpointing lock-image resampled": {
        "precision": "bf16",
        "grad_checkpointing": True,
        "gather_with_grad": True,
        "lock_image": True,
        "dataset_resampled": True,
        "train_data": "{paired}::{paired}",
        "train_data_upsampling_factors": "1::2",
    },
    "batchnorm accumulation lock-text": {"model": "rn", "accum_freq": 2, "batch_size": 4, "lock_text": True},
    "custom-text bias local val": {"model": "custom", "local_loss": True, "val_data": True, "batch_size": 20},
    "compiled": {"torchcompile": True, "local_loss": True},
}


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_with(name, shards, tiny_model, spied, tmp_path):
    flags = {key: str(value).format(paired=shards / "paired") if "{" in str(value) else value
             for key, value in CASES[name].items()}  # fmt: skip
    kind = flags.pop("model", None)
    extra = {"custom_text": True, "init_logit_bias": -10} if kind == "custom" else {}
    model = write_model(tmp_path / "model", "rn" if kind == "rn" else "vit", **extra) if kind else tiny_model
    if "keywords" in flags:
        (tmp_path / "one.txt").write_text("tree\n")
        flags["keywords"] = tmp_path / "one.txt"
    if "val_data" in flags:
        flags["val_data"] = write_retrieval_set(tmp_path / "val", 9)
    rows = train(shards, model, tmp_path / "logs", 2, env=spied, module="spy", **flags)
    assert rows
    assert set(rows[0]) == {"Contrastive_loss", "Caption_loss", "Keyword_loss", "Loss"}
    assert all(0 < row["Loss"] < 50 for row in rows)


def test_a_killed_rank_ends_the_job_and_resuming_goes_on_as_an_unbroken_run(shards, tiny_model, spied, tmp_path):
    flags = {"epochs": 3, "workers": 1, "gather_with_grad": True}
    unbroken = train(shards, tiny_model, tmp_path / "unbroken", 2, **flags)
    assert len(unbroken) == 9  # ceil(40 / 16) = 3 steps an epoch

    arguments = train_arguments(shards, tiny_model, tmp_path / "killed", **flags)
    killed = run_training(arguments, 2, module="spy", env={**spied, "KILL_RANK": "1", "KILL_AT": "5"})
    assert killed.returncode == 1
    assert "ChildFailedError" in killed.stdout
    assert "Signal 9 (SIGKILL)" in killed.stdout
    assert losses(killed.stdout)[:3] == unbroken[:3]
    assert len(losses(killed.stdout)) == 4

    resumed = train(shards, tiny_model, tmp_path / "killed", 2, resume="latest", **flags)
    assert [row["Loss"] for row in resumed] == [row["Loss"] for row in unbroken[3:]]


def test_a_rank_that_finds_only_bad_samples_ends_the_job(shards, tiny_model, tmp_path):
    """The shard of one rank holds no image: its loader says so, and the other rank does not wait for ever."""
    write_shards(tmp_path / "good", 40, 1, captions=False)
    write_tar(tmp_path / "bad" / "000000.tar", [(f"{i}.png", b"no image") for i in range(20)])
    pipe = f"pipe:if [ $RANK = 1 ]; then cat {tmp_path}/bad/000000.tar; else cat {tmp_path}/good/000000.tar; fi"
    arguments = train_arguments(shards, tiny_model, tmp_path / "logs", unpaired_data=pipe)
    run = run_training(arguments, 2)
    assert run.returncode == 1
    assert "ChildFailedError" in run.stdout
    message = r"sclip_plugin: --unpaired-data: no usable sample in a whole pass over 1 shards; found \d+ × undecodable"
    assert re.search(message, run.stdout), run.stdout[-3000:]
