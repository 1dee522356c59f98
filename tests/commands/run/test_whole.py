"""`sclip run` for real, with a tiny model: killed while it trains, and run again."""

import os
import re
import shlex
import signal
import subprocess
import sys

import open_clip
import pytest
import torch

from tests.helpers.processes import follow
from tests.helpers.training import run_training


def start(command):
    whole = [sys.executable, "-m", "sclip_plugin.cli", *command]
    return subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.mark.slow
def test_a_run_killed_while_training_ends_with_the_same_weights(command, root):
    words = [*command, "--epochs", "20", "--arms", "trusted-captions", "--test", f"t={root / 't'}"]
    out, log = root / "out", root / "out" / "logs" / "train-trusted-captions-0.log"
    killed = start(words)
    follow(log, "Train Epoch: 4", killed)  # epoch 4 is saved, the first of five
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (out / "table.md").exists()
    again = start(words)
    said = again.communicate()[0]
    assert again.returncode == 0, said[-2000:]
    assert re.search(r"\(goes on after epoch (4|8|12|16)\)", said)
    assert said.count("(done before; kept") == 1  # the check-up
    assert "resuming checkpoint" in log.read_text()

    train = next(line for line in said.splitlines() if line.startswith("$ python -m open_clip_train.main"))
    pasted = shlex.split(train)[4:]
    pasted[pasted.index("--logs") + 1] = str(root / "logs")
    assert run_training(pasted).returncode == 0
    name = "trusted-captions-0/checkpoints/epoch_20.pt"
    one, other = weights(out / "runs" / name), weights(root / "logs" / name)
    assert all(torch.equal(one[key], other[key]) for key in other)

    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{out / 'model'}")
    chosen = weights(out / "chosen.pt")
    assert all(torch.equal(value, chosen[key]) for key, value in model.state_dict().items())
    table = (out / "table.md").read_text()
    assert "| start model " in table
    assert "| chosen: trusted recipe, without keywords, epoch " in table
    assert "t: accuracy" in table
    assert "## Before and after" in (out / "model" / "README.md").read_text()
