"""Real runs of open_clip's training command."""

import os
import subprocess
import sys
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
