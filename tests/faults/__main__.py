"""The fuzzer as a command.

python -m tests.faults --seed 1 --tries 2000            # a table per format and command, and every failure
python -m tests.faults --seed 1 --only verify --try 17  # one try again
"""

import argparse
import random
import shlex
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

from tests.faults.families import FAMILIES
from tests.faults.oracle import ACCEPTED, REFUSED, SKIPPED
from tests.faults.trial import Verdict
from tests.faults.worker import Worker

KEEP = Path("build") / "faults"


def main() -> int:
    """Run tries; returns 1 where one failed."""
    args = _arguments()
    seed = random.randrange(10**6) if args.seed is None else args.seed
    print(f"seed {seed}, {'1 try' if args.number is not None else f'{args.tries} tries'}", flush=True)
    worker, found, start = Worker(args.keep), [], time.monotonic()
    try:
        for name, number in _schedule(args):
            one = worker.run(name, seed, number)
            found.append(one)
            if one.problems or args.number is not None:
                print(describe(one, seed, args.keep), flush=True)
    finally:
        worker.close()
    if args.number is None:
        print(table(found))
        slowest = max(found, key=lambda one: one.seconds)
        print(f"seed {seed}: {time.monotonic() - start:.0f} s in all")
        print(f"the slowest try: {slowest.family} {slowest.number}, {slowest.seconds:.1f} s")
    return 1 if any(one.problems for one in found) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, help="default: another one each time, printed")
    parser.add_argument("--tries", type=int, default=2000, help="over all families, by weight (default 2000)")
    parser.add_argument("--only", action="append", choices=FAMILIES, help="family; repeatable")
    parser.add_argument("--try", dest="number", type=int, help="with --only: this try alone")
    parser.add_argument(
        "--keep", type=Path, default=KEEP, help="folder for the input of failures (default build/faults)"
    )
    return parser.parse_args()


def _schedule(args: argparse.Namespace) -> list[tuple[str, int]]:
    names = args.only or list(FAMILIES)
    if args.number is not None:
        return [(name, args.number) for name in names]
    return [(name, number) for name, count in shares(args.tries, names).items() for number in range(count)]


def shares(tries: int, names: list[str]) -> dict[str, int]:
    """How many tries each family gets, at least two."""
    whole = sum(FAMILIES[name].weight for name in names)
    return {name: max(2, round(tries * FAMILIES[name].weight / whole)) for name in names}


def describe(one: Verdict, seed: int, keep: Path | None) -> str:
    """A failure, with the command that repeats it."""
    lines = [f"{one.family} try {one.number}: {'; '.join(one.problems) or one.outcome}"]
    lines += [f"    {one.damage}", f"    sclip {shlex.join(one.command)}"]
    if one.problems:
        lines.append(f"    again: python -m tests.faults --seed {seed} --only {one.family} --try {one.number}")
    elif one.said:
        lines.append(f"    {one.said}")
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()


def table(found: list[Verdict]) -> str:
    """Figures per format and per command."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for one in found:
        for name in (one.family, "all"):
            rows[name].update([one.outcome, "tries", *(["failures"] if one.problems else [])])
    order = [*(name for name in rows if name != "all"), "all"]
    columns = ("tries", ACCEPTED, SKIPPED, REFUSED, "failures")
    lines = [f"{'':22}" + "".join(f"{column:>10}" for column in columns)]
    lines += [f"{name:22}" + "".join(f"{rows[name][column]:>10}" for column in columns) for name in order]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
