"""Which checkpoint `--resume` of open_clip_train 3.x means, found as its `main` will find it."""

import argparse
import glob
import os
import re

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.training.checkpoints import Resumed, damage, read_resumed


def resumed(args: argparse.Namespace, distributed: bool) -> Resumed | None:
    """The checkpoint that the run will go on from; None without one, and for a remote one, which is not looked at.

    Args:
        args: the host's arguments.
        distributed: whether the run has several processes.

    Raises:
        DataError: the checkpoint cannot be used.
        UsageError: a remote one with --lora-rank, whose adapters are read here.
    """
    if args.resume is None:
        return None
    if ":" in args.resume.split("/")[0] or args.remote_sync is not None:
        if args.lora_rank is not None:
            raise UsageError(f"--resume {args.resume}: with --lora-rank a run goes on from a local file only")
        return None
    if args.resume != "latest":
        return read_resumed(args.resume, distributed)
    found = _checkpoints(args)
    if not found:
        return None
    fault = damage(found[-1])
    if fault:
        whole = next((path for path in reversed(found[:-1]) if damage(path) is None), None)
        follows = f"from {os.path.basename(whole)}" if whole else "anew"
        raise DataError(f"--resume latest: {found[-1]} {fault}; remove it, and the run starts {follows}")
    return read_resumed(found[-1], distributed)


def _checkpoints(args: argparse.Namespace) -> list[str]:
    """What `--resume latest` chooses from; it takes the last."""
    if args.name is None:
        return []  # the host makes up a new name
    folder = os.path.join(args.logs, args.name, "checkpoints")
    if args.save_most_recent:
        latest = os.path.join(folder, "epoch_latest.pt")
        return [latest] if os.path.exists(latest) else []
    # the host's own pattern, which also takes folders beside `checkpoints` whose names begin so
    return sorted(glob.glob(folder + "**/*.pt", recursive=True), key=_natural)


def _natural(path: str) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.lower())]
