"""SIGKILL at random moments of a conversion and of a training run, which then go on and must end as unbroken ones do.

    python -m tests.faults.kills --convert 100 --train 30 --seed 0

Every run is a process of its own, forked from this one, which has everything imported: a kill hits the work and not the
start of Python. A run that was killed is started again, and may be killed again, up to three times. A quarter of the
kills of training runs wait for the moment at which a checkpoint is being written. A conversion must leave the same
files with the same bytes; a training run must log the losses that the unbroken run logged for the same epochs, and end
with its tensors. What is cut off when a kill hits the writing of a checkpoint must be refused in one line that says
what to remove; that is done, and the run is started again. Prints a summary for each kind; the exit status is 0 where
nothing differs.
"""

import argparse
import math
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from sclip_plugin import cli
from tests.helpers.conversion import image, tree, write_csv
from tests.helpers.models import write_model
from tests.helpers.shards import write_shards
from tests.helpers.training import losses, train_arguments

LONGEST = 120  # seconds; a run that takes longer hangs
CHANCES = (1, 0.4, 0.5)  # of a first kill, of a second one after it, and of a third
WHILE_WRITING = 0.25  # share of the kills that wait for a checkpoint to be begun
WRITING = 0.04  # seconds within which they come then; a checkpoint takes about as long
STEPS = 13  # ceil(100 / 8): of an epoch of the training run

Command = Callable[[], int | None]


@dataclass
class Summary:
    """What became of the runs of one kind.

    Attributes:
        kills: runs that were killed.
        resumed: runs that went on after a kill and ended by themselves.
        refused: starts that refused a checkpoint which a kill had cut off.
        differences: what was not as in the unbroken run.
    """

    kills: int = 0
    resumed: int = 0
    refused: int = 0
    differences: list[str] = field(default_factory=list)

    def line(self, kind: str) -> str:
        """One line for the report."""
        return (
            f"{kind}: {self.kills} kills, {self.resumed} resumed runs, "
            f"{self.refused} cut checkpoints refused, {len(self.differences)} differences"
        )


@dataclass(frozen=True)
class Moment:
    """When a run is killed: so many seconds after its start, or after a file appears; infinity: never."""

    seconds: float = math.inf
    file: Path | None = None


def run(command: Command, log: Path, moment: Moment | None = None) -> tuple[int | None, str]:
    """(exit status, output) of a command in its own process; None where it hangs, -9 where the kill came in time."""

    def child() -> None:
        with open(log, "w") as file:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
        sys.exit(command())

    sys.stdout.flush()
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    moment = moment or Moment()
    while moment.file is not None and not moment.file.exists() and process.is_alive():
        time.sleep(0.001)
    process.join(min(moment.seconds, LONGEST))
    running = process.is_alive()
    process.kill()
    process.join()
    output = log.read_text(errors="replace") if log.exists() else ""
    return (None if running and moment.seconds > LONGEST else process.exitcode), output


def moments(rng: random.Random, seconds: float, files: list[Path]) -> Iterator[Moment]:
    """When the starts of one run are killed: at any time, or where `files` are given while one of them is written.

    Args:
        rng: decides.
        seconds: how long an unbroken run takes.
        files: what the run writes in one go.
    """
    for chance in CHANCES:
        if rng.random() > chance:
            break
        to_come = [path for path in files if not path.exists()]
        if to_come and rng.random() < WHILE_WRITING:
            yield Moment(rng.uniform(0, WRITING), rng.choice(to_come))
        else:
            yield Moment(rng.uniform(0, seconds))
    while True:
        yield Moment()


def unbroken(command: Callable[[Path], Command], root: Path) -> tuple[float, str]:
    """(seconds, output) of a run into `root/whole` that is not killed; the time is the shorter one of two runs."""
    times = []
    for name in ("again", "whole"):
        start = time.monotonic()
        status, output = run(command(root / name), root / "log")
        if status != 0:
            sys.exit(f"the unbroken run failed: {output[-2000:]}")
        times.append(time.monotonic() - start)
    return min(times), output


def kill_conversions(root: Path, kills: int, rng: random.Random) -> Summary:
    """Kill conversions of one source until `kills` kills have hit."""
    rows = [(f"{n:04d}.jpg", f"a photo of tree {n}") for n in range(1600)]
    (root / "photos").mkdir()
    for number, (name, _) in enumerate(rows):
        (root / "photos" / name).write_bytes(image(number, size=(160, 120)))
    table = write_csv(root / "captions.csv", rows, header=("filepath", "caption"))

    def conversion(out: Path) -> Command:
        words = ["convert", table, "--images", root / "photos", "--out", out, "--paired-ratio", 0.5, "--shard-size", 40]
        return lambda: cli.main([*map(str, words), "--quality", "80", "--workers", "2"])

    seconds, _ = unbroken(conversion, root)
    expected, summary = tree(root / "whole"), Summary()
    print(f"convert: {len(expected)} files in {seconds:.1f} s unbroken")
    for number in range(10 * kills):
        if summary.kills >= kills:
            break
        out = root / f"out{number}"
        before = summary.kills
        for moment in moments(rng, seconds, []):
            status, output = run(conversion(out), root / "log", moment)
            if status != -signal.SIGKILL:
                break
            summary.kills += 1
        summary.resumed += summary.kills > before
        found = tree(out)
        if status != 0:
            summary.differences.append(f"convert {number}: exit status {status}: {output[-300:]}")
        elif found != expected:
            paths = sorted(path for path in {*found, *expected} if found.get(path) != expected.get(path))
            summary.differences.append(f"convert {number}: {', '.join(paths)}")
    return summary


def kill_trainings(root: Path, kills: int, rng: random.Random) -> Summary:
    """Kill training runs of three epochs until `kills` kills have hit; they go on with `--resume latest`."""
    from open_clip_train.main import main

    import sclip_plugin.training.run  # noqa: F401 (so that it is imported once, and not in every run)

    model = write_model(root / "model")
    write_shards(root / "paired", 100, 4, captions=True)
    write_shards(root / "unpaired", 60, 3, captions=False, first=1000)
    (root / "keywords.txt").write_text("tree\nriver\npark\n")

    def training(logs: Path) -> Command:
        words = train_arguments(root, model, logs, epochs=3, resume="latest")
        return lambda: main(words)

    seconds, output = unbroken(training, root)
    expected, summary = losses(output), Summary()
    print(f"train: {len(expected)} steps in {seconds:.1f} s unbroken")
    for number in range(10 * kills):
        if summary.kills >= kills:
            break
        logs = root / f"run{number}"
        before = summary.kills
        checkpoints = [logs / "run" / "checkpoints" / f"epoch_{epoch}.pt" for epoch in (1, 2, 3)]
        for moment in moments(rng, seconds, checkpoints):
            status, output = run(training(logs), root / "log", moment)
            cut = re.search(r"error: --resume latest: (\S+\.pt) is (cut off|empty).*remove it", output)
            if status == 2 and cut and "Traceback" not in output:
                summary.refused += 1
                Path(cut.group(1)).unlink()
                status, output = run(training(logs), root / "log")
            if status != -signal.SIGKILL:
                break
            summary.kills += 1
        summary.resumed += summary.kills > before
        rows = losses(output)
        if status != 0:
            summary.differences.append(f"train {number}: exit status {status}: {output[-300:]}")
        elif rows != expected[len(expected) - len(rows) :] or len(rows) % STEPS:
            summary.differences.append(f"train {number}: other losses in {len(rows)} steps after resuming")
        elif not same_tensors(logs, root / "whole"):
            summary.differences.append(f"train {number}: other tensors in the last checkpoint")
    return summary


def same_tensors(logs: Path, whole: Path) -> bool:
    """Whether the last checkpoints of two runs hold the same weights and the same state of the optimizer."""
    one, other = (torch.load(f / "run" / "checkpoints" / "epoch_3.pt", weights_only=True) for f in (logs, whole))
    return equal(one["state_dict"], other["state_dict"]) and equal(one["optimizer"], other["optimizer"])


def equal(one: object, other: object) -> bool:
    """Whether two values made of dictionaries, lists and tensors are the same."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(equal, one, other))
    return one == other


def main(argv: list[str]) -> int:
    """Kill as often as the command line asks for. Returns 0 where nothing differs, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kills", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--convert", type=int, default=100, help="kills of conversions (default: 100)")
    parser.add_argument("--train", type=int, default=30, help="kills of training runs (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments (default: 0)")
    args = parser.parse_args(argv)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(1)
    differences = []
    for name, kills, kind in (("convert", args.convert, kill_conversions), ("train", args.train, kill_trainings)):
        if kills > 0:
            with tempfile.TemporaryDirectory() as folder:
                start = time.monotonic()
                summary = kind(Path(folder), kills, random.Random(f"{name} {args.seed}"))
                print(f"{summary.line(name)} ({time.monotonic() - start:.0f} s, seed {args.seed})")
            differences += summary.differences
    print(*differences, sep="\n", end="\n" if differences else "")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
