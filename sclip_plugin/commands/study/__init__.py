"""Train arms (sets of training flags) with several seeds, evaluate and compare them, and write a report.

Example:
    sclip study first-experiments --out build/first       # a shipped study, on embedded emoji
    sclip study first-experiments --base icons --out build/icons                    # the same arms on embedded icons
    sclip study first-experiments --base own-data --set shards=shards --out study   # the same arms on your shards
    sclip study --copy own-data > mine.toml               # to name more sets and flags, then --base mine.toml

A study's file names data, common flags, arms and evaluation sets. Every run is a call of open_clip's training command.
A file that does not come with the package, a copy included, runs with --trust only, since study files run commands.
A study that was interrupted or killed keeps what is finished when it is run again, and gives the same table.
`--launcher slurm` makes each run a job of a cluster (pip install 'sclip-plugin[slurm]'), and waits for the jobs. Called
again, it waits for those that still run, and submits those that failed or were preempted once more:
    sclip study own-data --set shards=shards --out study --launcher slurm --slurm-partition gpu --time 4:00:00
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sclip_plugin.commands.flags.paths import named_path
from sclip_plugin.errors import DataError, UsageError

if TYPE_CHECKING:
    from sclip_plugin.commands.study.launchers import Launcher
    from sclip_plugin.commands.study.spec import Study

MOST_JOBS: Final = 1000  # ours; a run takes gigabytes
KEEP: Final = ("last", "all", "none")  # which checkpoints of a run stay once they are evaluated


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sclip study`."""
    parser.add_argument("study", nargs="?", metavar="STUDY", help="a .toml file, or the name of a shipped study")
    parser.add_argument("--out", type=named_path, metavar="DIR", help="folder for everything (default: study-NAME)")
    parser.add_argument("--base", metavar="STUDY", help="take data and common flags from this study instead")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=TEXT", help="give a variable another value; repeatable"
    )
    parser.add_argument("--seeds", metavar="N,N", help="other seeds than the file's")
    parser.add_argument("--arms", metavar="NAME,NAME", help="only these of the file's arms")
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at a time (default: 1; with Slurm: all)")
    parser.add_argument(
        "--gpus",
        metavar="N,N",
        help="with --jobs: each job sees one of these GPUs; with Slurm: how many GPUs each job gets (default: one for "
        "each process of a run, none where all arms have device = cpu)",
    )
    parser.add_argument(
        "--keep-checkpoints",
        choices=KEEP,
        default="last",
        help="which checkpoints of a run stay once they are evaluated (default: last)",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run a study file from elsewhere, whose commands are shown without this flag; needed once for each "
        "content of the file (and of its base) in one --out",
    )
    add_launcher_arguments(parser)
    parser.add_argument("--report-only", action="store_true", help="write tables and report from what is finished")
    parser.add_argument("--list", action="store_true", help="name the shipped studies")
    parser.add_argument("--copy", metavar="STUDY", help="print a shipped study, to change it; the copy needs --trust")


def add_launcher_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments about where the runs are carried out."""
    parser.add_argument(
        "--launcher",
        choices=("local", "slurm"),
        default="local",
        help="run on this machine (default), or make each run a job of a Slurm cluster",
    )
    parser.add_argument(
        "--time", metavar="TIME", help="with Slurm, which needs it: time limit of a job, for instance 90 or 4:00:00"
    )
    parser.add_argument("--slurm-partition", metavar="NAME", help="the partition of the jobs (default: the cluster's)")
    parser.add_argument(
        "--slurm-parameter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a further parameter of sbatch, for instance account=lab or mem=32G; also setup=COMMAND, which a job runs "
        "first; repeatable",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be run or submitted; change nothing")


def run(args: argparse.Namespace) -> int:
    """Run, compare, report. Returns 0, or 1 where runs failed."""
    from sclip_plugin.commands.study import spec
    from sclip_plugin.commands.study.trust import require_trust

    if args.list:
        _list()
        return 0
    if args.copy:
        print(spec.locate(args.copy).read_text(encoding="utf-8"), end="")
        return 0
    if not args.study:
        raise UsageError("a study is missing: a .toml file, or a name from `sclip study --list`")
    launcher = _launcher(args)
    path = spec.locate(args.study)
    out = args.out or Path(f"study-{path.stem}")
    base = str(spec.locate(args.base).resolve()) if args.base else None
    study = spec.load(path, out, base, dict(_variable(text) for text in args.set), _seeds(args.seeds))
    if args.arms is not None:
        study = study.only(args.arms.split(","))
    if args.dry_run:
        return _show_plan(study, out, launcher, args.keep_checkpoints)
    if not args.report_only:
        require_trust(study, out, base, args.trust)
    return run_study(study, out, launcher=launcher, keep=args.keep_checkpoints, train=not args.report_only)


def run_study(study: "Study", out: Path, *, launcher: "Launcher", keep: str = "last", train: bool = True) -> int:
    """Run a study, print its tables, write `table.md`, `report.html` and `report.png`.

    Args:
        study: what is run.
        out: the study's folder.
        launcher: what carries out its runs.
        keep: one of `KEEP`.
        train: False only reports what is finished.

    Returns:
        The exit status: 0, or 1 where runs failed.

    Raises:
        DataError: no run is finished.
    """
    from sclip_plugin.commands.study import report
    from sclip_plugin.commands.study.runner import Runner

    runner = Runner(study, out, launcher, keep)
    if train:
        runner.run()
    outcome = report.outcome(study, out, runner.failed)
    if not any(outcome.arms.values()):
        raise DataError(f"{out}: no run is finished" + "".join(f"; {text}" for text in runner.failed.values()))
    print(f"\n{report.write(outcome, out)}", end="")
    print(f"\ntable: {out / 'table.md'}\nreport: {out / 'report.html'}\npicture: {out / 'report.png'}")
    return 1 if runner.failed else 0


def _launcher(args: argparse.Namespace) -> "Launcher":
    """The launcher that the flags ask for; raises `UsageError` where they do not go together."""
    from sclip_plugin.commands.study.launchers.local import Local
    from sclip_plugin.commands.study.launchers.slurm import Slurm
    from sclip_plugin.commands.study.launchers.slurm_settings import read_settings

    if args.jobs is not None and not 1 <= args.jobs <= MOST_JOBS:
        bound = "least 1" if args.jobs < 1 else f"most {MOST_JOBS}"
        raise UsageError(f"--jobs must be at {bound}, got {args.jobs}")
    if args.report_only and (args.dry_run or args.launcher == "slurm"):
        raise UsageError(f"{'--dry-run' if args.dry_run else '--launcher slurm'} does not work with --report-only")
    if args.launcher == "slurm":
        if args.time is None:
            raise UsageError("--launcher slurm needs --time, the time limit of each job, for instance 4:00:00")
        return Slurm(read_settings(args.time, args.slurm_partition, args.gpus, args.jobs, args.slurm_parameter))
    for flag in ("time", "slurm_partition", "slurm_parameter"):
        if getattr(args, flag):
            raise UsageError(f"--{flag.replace('_', '-')} needs --launcher slurm")
    return Local(args.jobs or 1, tuple(args.gpus.split(",")) if args.gpus else ())


def _show_plan(study: "Study", out: Path, launcher: "Launcher", keep: str) -> int:
    from sclip_plugin.commands.study.runner import Runner

    for line in Runner(study, out, launcher, keep).plan():
        print(line)
    return 0


def _list() -> None:
    from sclip_plugin.commands.study import spec
    from sclip_plugin.toml import load_toml

    for name, path in spec.shipped().items():
        print(f"{name:<20} {load_toml(path).get('title', '')}")


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"--set must be NAME=TEXT, got {text!r}")
    return name, os.path.expanduser(value)


def _seeds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    from sclip_plugin.commands.study.values import LARGEST

    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--seeds must be whole numbers separated by commas, got {text!r:.100}") from None
    if len(set(seeds)) < len(seeds) or not all(0 <= seed <= LARGEST for seed in seeds):
        raise UsageError(f"--seeds must be different whole numbers from 0 to {LARGEST}, got {text!r:.100}")
    return seeds
