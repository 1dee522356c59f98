"""Real runs of open_clip's training command."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def train_arguments(root: Path, model: str, logs: Path, **flags) -> list[str]:
    """Arguments of a short fp32 run on CPU; flags as keyword arguments (True: no value; None: leave out)."""
    values = {
        "loss": "sclip",
        "train_data": str(root / "paired"),
        "unpaired_data": str(root / "unpaired"),
        "keywords": str(root / "keywords.txt"),
        "model": model,
        "batch_size": 8,
        "workers": 1,
        "epochs": 1,
        "warmup": 1,
        "lr": 1e-3,
        "precision": "fp32",
        "device": "cpu",
        "log_every_n_steps": 1,
        "logs": str(logs),
        "name": "run",
        **flags,
    }
    words = []
    for name, value in values.items():
        if value is None:
            continue
        words.append("--" + name.replace("_", "-"))
        words += [] if value is True else [str(value)]
    return words


def run_training(arguments: list[str], processes: int = 1, module: str = "open_clip_train.main", env=None, cwd=None):
    """Run the training command as a user would; returns the finished process, output and errors together."""
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--nproc-per-node", str(processes), "--standalone", "-m", "--"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    return subprocess.run(
        [*command, module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=cwd,
        timeout=300,
    )


def trained(shards: Path, model: str, logs: Path, processes: int = 1, more: Sequence[str] = (), **flags) -> str:
    """The output of a training that ends well; `env` and `module` are those of `run_training`."""
    how = {name: flags.pop(name) for name in ("env", "module") if name in flags}
    run = run_training([*train_arguments(shards, model, logs, **flags), *more], processes, **how)
    assert run.returncode == 0, run.stdout[-3000:]
    return run.stdout


def totals(output: str) -> list[float]:
    """The loss of each step that is logged."""
    return [row["Loss"] for row in losses(output)]


def losses(output: str) -> list[dict[str, float]]:
    """The logged losses of each step."""
    rows = []
    for line in output.splitlines():
        if "Train Epoch" in line:
            rows.append({name: float(value) for name, value in re.findall(r"(\w*[Ll]oss): ([\d.eE+-]+) ", line)})
    return rows


STRUCK = """
import os, runpy, signal, sys
import torch
sys.argv[0] = "struck"
kind, number = os.environ["STRIKE_AT"].split()
seen = {"step": 0, "save": 0}
def count(what):
    seen[what] += 1
    if what == kind and seen[what] == int(number) and os.environ.get("RANK", "0") == os.environ["STRIKE_RANK"]:
        exec(os.environ["STRIKE"], {"os": os, "signal": signal})
call, save = torch.nn.Module.__call__, torch.save
def counted_call(self, *args, **kwargs):
    if type(self).__name__ == "SClipLoss":
        count("step")
    return call(self, *args, **kwargs)
def counted_save(*args, **kwargs):
    count("save")
    return save(*args, **kwargs)
torch.nn.Module.__call__, torch.save = counted_call, counted_save
runpy.run_module("open_clip_train.main", run_name="__main__")
"""


def struck(folder: Path, at: str, code: str, rank: int = 0) -> dict[str, str]:
    """Environment in which `-m struck` is the training command with a blow in it.

    Args:
        folder: where the module is written.
        at: "step N" or "save N": before the loss's or the checkpoints' N-th call, from 1.
        code: what is run then, with `os` and `signal` at hand.
        rank: of the process that is struck.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "struck.py").write_text(STRUCK)
    return {"PYTHONPATH": str(folder), "STRIKE_AT": at, "STRIKE": code, "STRIKE_RANK": str(rank)}
