"""Go the whole way on an embedded data set: convert, keywords, train, evaluate; it ends with a table and a report.

Example:
    sclip demo --out build/demo

2,943 icons of 25 themes, of which a tenth keep their captions, and a small CLIP pretrained on other icons. This is
`sclip study demo`: supervised fine-tuning and S-CLIP with the same pairs, learning rate and number of steps, compared
on held-out icons; every command that it runs is printed. A CPU is enough. A demo that was interrupted keeps what is
finished when it is run again with the same arguments.
"""

import argparse
import os
from pathlib import Path

from sclip_plugin.commands.flags.paths import named_path
from sclip_plugin.errors import UsageError

STUDY = "demo"
MOST = {"steps": 1_000_000, "seeds": 1000, "jobs": 1000}  # ours


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sclip demo`."""
    parser.add_argument(
        "--out",
        type=named_path,
        default=Path("sclip-demo"),
        metavar="DIR",
        help="folder for everything (default: sclip-demo)",
    )
    parser.add_argument("--steps", type=int, help="training steps, rounded up to epochs (default: the study's, 300)")
    parser.add_argument("--seeds", type=int, help="runs of each kind (default: the study's, 2)")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="runs at a time (default: 2)")
    parser.add_argument(
        "--unpack",
        type=named_path,
        metavar="DIR",
        help="only write the icons and the start model to DIR/icons, DIR/start",
    )


def run(args: argparse.Namespace) -> int:
    """Run the study, or only unpack its data. Returns 0, or 1 where a run failed."""
    if args.unpack:
        from sclip_plugin.commands.demo import embedded

        embedded.unpack(embedded.ICONS, args.unpack / "icons")
        embedded.unpack(embedded.START, args.unpack / "start")
        return 0
    for flag in ("steps", "seeds", "jobs"):
        if getattr(args, flag) is not None and getattr(args, flag) < 1:
            raise UsageError(f"--{flag} must be at least 1, got {getattr(args, flag)}")
        if getattr(args, flag) is not None and getattr(args, flag) > MOST[flag]:
            raise UsageError(f"--{flag} must be at most {MOST[flag]}, got {getattr(args, flag)}")
    from sclip_plugin.commands.study import run_study, spec

    seeds = list(range(args.seeds)) if args.seeds else None
    study = spec.load(spec.locate(STUDY), args.out, seeds=seeds, steps=args.steps)
    return run_study(study, args.out, jobs=args.jobs)
