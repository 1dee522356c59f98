"""What the plugin adds to `import torch`, and to the time until the first training step.

    python benchmarks/startup.py --json startup.json

The import is timed in fresh processes in which torch is imported without its entry points. Then the plugin's entry
point is loaded and called, as `import torch` does by default; what counts is the milliseconds of that. Training is
timed from the start of the process to the log line of the first step, by open_clip's command with a tiny model and one
worker, stock on the pairs and ours on pairs and unpaired images. The two take turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from photos import WORDS, write_set
from timing import machine, medians, write_json

ENTRY_POINT = """
import time, torch
from importlib.metadata import entry_points
(entry,) = [entry for entry in entry_points(group="torch.backends") if entry.name == "sclip_plugin"]
start = time.perf_counter()
entry.load()()
print(1e3 * (time.perf_counter() - start))
"""
TOWERS = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def import_milliseconds(repeats: int) -> float:
    """The median milliseconds of loading and calling the entry point, in fresh processes."""
    environment = {**os.environ, "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    command = [sys.executable, "-c", ENTRY_POINT]
    runs = [subprocess.run(command, env=environment, capture_output=True, check=True) for _ in range(repeats)]
    return statistics.median(float(run.stdout) for run in runs)


def until_first_step(arguments: list[str]):
    """A function that starts a training run and returns when its first step is logged."""

    def run() -> None:
        """Start a run, read its log until the first step, and end it."""
        command = [sys.executable, "-m", "open_clip_train.main", *arguments]
        with tempfile.TemporaryDirectory() as logs:
            process = subprocess.Popen(
                [*command, "--logs", logs],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            lines = []
            for line in process.stdout:
                lines.append(line)
                if "Train Epoch: 0" in line:
                    break
            process.terminate()
            process.communicate()
        if "Train Epoch: 0" not in lines[-1]:
            sys.exit("a training run ended without a step:\n" + "".join(lines[-20:]))

    return run


def measure_training(samples: int, repeats: int) -> dict:
    """Median seconds until the first step, of stock and of ours, and their difference."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_set(folder / "paired", samples, 4, (320, 240), captions=True)
        write_set(folder / "unpaired", samples, 4, (320, 240), captions=False)
        (folder / "keywords.txt").write_text("\n".join(WORDS))
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TOWERS, "preprocess_cfg": {}}))
        shared = ["--model", f"local-dir:{folder}", "--train-data", f"{folder}/paired/{{000000..000003}}.tar"]
        shared += ["--batch-size", "32", "--workers", "1", "--precision", "fp32", "--device", "cpu", "--warmup", "1"]
        sclip = ["--loss", "sclip", "--unpaired-data", f"{folder}/unpaired", "--keywords", f"{folder}/keywords.txt"]
        functions = {"stock": until_first_step(shared), "ours": until_first_step([*shared, *sclip])}
        start = time.perf_counter()
        seconds = medians(functions, repeats)
        print(f"{2 * (repeats + 1)} training runs started in {time.perf_counter() - start:.0f} s", flush=True)
    return {f"{name}_seconds": value for name, value in seconds.items()} | {
        "difference_seconds": seconds["ours"] - seconds["stock"],
        "samples": samples,
        "repeats": repeats,
    }


def main() -> None:
    """Measure and print what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000, help="pairs, and as many unpaired images (default: 2000)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each; the median counts (default: 5)")
    parser.add_argument("--json", metavar="OUT", help="write the figures here as well")
    arguments = parser.parse_args()
    milliseconds = import_milliseconds(arguments.repeats)
    print(f"entry point: {milliseconds:.1f} ms on top of `import torch`", flush=True)
    training = measure_training(arguments.samples, arguments.repeats)
    print(
        f"first step after: stock {training['stock_seconds']:.2f} s, ours {training['ours_seconds']:.2f} s, "
        f"difference {training['difference_seconds']:+.2f} s"
    )
    write_json(arguments.json, {"machine": machine(), "import_ms": milliseconds, "training": training})


if __name__ == "__main__":
    main()
