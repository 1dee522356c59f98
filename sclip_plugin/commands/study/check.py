"""Refusing an arm's flags before anything is trained: open_clip's own parser, and the plugin's checks, look at them.

They look in a process of their own, `python -m sclip_plugin.commands.study.check`, since parsing `--loss sclip`
readies a process for training.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

from sclip_plugin import host
from sclip_plugin.commands.study import steps
from sclip_plugin.commands.study.spec import Study
from sclip_plugin.errors import DataError, UsageError


def check_arms(study: Study, out: Path) -> None:
    """Parse the training command of each arm.

    Raises:
        UsageError: an arm's flags cannot work (the message names the arm), or the plugin is not active.
        DataError: the check itself failed.
    """
    asked = subprocess.run(
        [sys.executable, "-m", "sclip_plugin.commands.study.check"],
        input=json.dumps(commands(study, out)),
        env={**os.environ, "WORLD_SIZE": str(study.processes)},
        capture_output=True,
        text=True,
    )
    lines = (asked.stderr if asked.returncode else asked.stdout).strip().splitlines() or ["no output"]
    if asked.returncode:
        raise DataError(f"the arms' flags could not be checked: {lines[-1]}")
    if said := json.loads(lines[-1]):
        raise UsageError(said)


def commands(study: Study, out: Path) -> dict[str, list[str]]:
    """The arguments of each arm's training command, by the arm's name."""
    found = {}
    for arm in study.arms.values():
        command = steps.train_step(study, steps.StudyRun(arm, study.seeds[0]), out).command
        found[arm.name] = list(command[command.index(steps.TRAINING) + 1 :])
    return found


def refusal(arguments: dict[str, list[str]]) -> str:
    """Why one of the commands cannot work; "" where all can."""
    import torch  # noqa: F401 (its import activates the plugin)
    from open_clip_train.params import parse_args

    if any("--loss" in words for words in arguments.values()) and not host.active():
        return "the plugin is not active in this environment: see `sclip doctor`"
    for name, words in arguments.items():
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                parse_args(words)
        except SystemExit:
            last = (said.getvalue().strip().splitlines() or ["refused"])[-1]
            return f"arms.{name}: {last.rpartition('error: ')[2]}"
    return ""


if __name__ == "__main__":
    print(json.dumps(refusal(json.load(sys.stdin))))
