"""What the benchmarks share: timing side by side, naming the machine, and writing JSON whole or not at all."""

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch


def medians(
    functions: dict[str, Callable], repeats: int, warmup: int = 1, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each function; they take turns, so that a busy moment of the machine meets all of them.

    Args:
        functions: by name.
        repeats: timed calls of each.
        warmup: calls of each before them, which do not count.
        clock: `time.process_time` for what runs in one thread: other processes disturb it less than the wall's.
    """
    times = {name: [] for name in functions}
    for turn in range(warmup + repeats):
        for name, function in functions.items():
            start = clock()
            function()
            if turn >= warmup:
                times[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def clock_for(threads: int) -> Callable[[], float]:
    """A clock for so many threads: the process's own time for one, the wall's for several."""
    return time.process_time if threads == 1 else time.perf_counter


def machine() -> dict:
    """The processor, its cores, the threads in use, and versions."""
    import open_clip

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "open_clip": open_clip.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def write_json(path: str | None, report: dict) -> None:
    """Write `report` to `path` atomically; nothing where `path` is None."""
    if path is None:
        return
    target = Path(path)
    with tempfile.NamedTemporaryFile("w", dir=target.parent, delete=False) as aside:
        json.dump(report, aside, indent=2)
        aside.write("\n")
        aside.flush()
        os.fsync(aside.fileno())
    os.replace(aside.name, target)
