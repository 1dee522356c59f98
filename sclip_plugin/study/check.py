"""Refusing an arm's flags before anything is trained: open_clip's own parser, and the plugin's checks, look at them."""

import contextlib
import io
import os
from pathlib import Path

from sclip_plugin.errors import UsageError
from sclip_plugin.study import plan
from sclip_plugin.study.spec import Study


def check_arms(study: Study, out: Path) -> None:
    """Parse the training command of each arm.

    Raises:
        UsageError: flags that cannot work, naming the arm; the plugin is not active.
    """
    import torch  # noqa: F401 (its import activates the plugin)
    from open_clip_train.params import parse_args

    if any(arm.sclip for arm in study.arms.values()) and not hasattr(parse_args, "__wrapped__"):
        raise UsageError("the plugin is not active in this environment: see `sclip doctor`")
    before = os.environ.get("WORLD_SIZE")
    os.environ["WORLD_SIZE"] = str(study.processes)
    try:
        for arm in study.arms.values():
            command = plan.train_step(study, plan.Run(arm, study.seeds[0]), out).command
            _parse(arm.name, parse_args, list(command[command.index("open_clip_train.main") + 1 :]))
    finally:
        os.environ.pop("WORLD_SIZE") if before is None else os.environ.update(WORLD_SIZE=before)


def _parse(name: str, parse_args, arguments: list[str]) -> None:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parse_args(arguments)
    except SystemExit:
        lines = said.getvalue().strip().splitlines() or ["refused"]
        raise UsageError(f"arms.{name}: {lines[-1].rpartition('error: ')[2]}") from None
