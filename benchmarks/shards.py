"""The time and memory of converting JPEGs byte for byte, against `tar -cf` of the same files.

    python benchmarks/shards.py
    python benchmarks/shards.py --images 100000 --repeats 3 --json shards.json

Both read every file and write one copy of it. `sclip convert` also reads headers, hashes, checks for equal images, and
writes captions, sizes and a manifest. The floor is tar's own time, plus the time of a SHA-256 of the bytes and of a
look at every header divided by the workers.
"""

import argparse
import csv
import hashlib
import io
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from timing import machine, write_json
from tqdm import tqdm

from sclip_plugin.shards.images import Transform, inspect
from sclip_plugin.shards.locator import FileImage

BASES = 100  # different pictures; each file also has a comment of its own


def pictures() -> list[bytes]:
    """`BASES` different JPEGs of about 50 KB."""
    rng, found = np.random.default_rng(0), []
    for _ in range(BASES):
        base = Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)).resize((480, 360), Image.BICUBIC)
        noisy = np.asarray(base).astype(np.int16) + rng.normal(0, 8, (360, 480, 1)).astype(np.int16)
        buffer = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
        found.append(buffer.getvalue())
    return found


def make_source(folder: Path, images: int) -> int:
    """Write `images` files into photos/ and captions for half of them; returns the bytes of the files."""
    (folder / "photos").mkdir()
    bases, rows, total = pictures(), [("filepath", "caption")], 0
    for number in tqdm(range(images), desc="making images", disable=None):
        base, note = bases[number % BASES], b"%012d" % number
        data = base[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + base[2:]
        name = f"p{number:07d}.jpg"
        (folder / "photos" / name).write_bytes(data)
        total += len(data)
        if number % 2:
            rows.append((name, f"a photograph of thing {number} by a river"))
    with open(folder / "captions.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return total


# a process begins with the memory of the one it is forked from, and this one has loaded torch
_PEAK = (
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
)


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a command; its seconds and peak megabytes."""
    start = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-c", _PEAK, *command], cwd=folder, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if run.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {run.returncode}: {run.stderr}")
    return seconds, int(run.stdout) / 1024


def extra_work(folder: Path) -> tuple[float, float]:
    """Seconds to hash all bytes, and seconds to look at all headers, in one thread with the files in memory."""
    paths = [str(path) for path in sorted((folder / "photos").iterdir())]
    hashing = 0.0
    for path in paths:
        data = Path(path).read_bytes()
        start = time.perf_counter()
        hashlib.sha256(data).digest()
        hashing += time.perf_counter() - start
    start = time.perf_counter()
    for path in paths:
        inspect(FileImage(path), Transform())
    return hashing, time.perf_counter() - start


def measure(folder: Path, workers: int, repeats: int) -> dict:
    """Medians of both commands, which take turns, after one round that does not count."""
    convert = [
        sys.executable,
        "-m",
        "sclip_plugin.cli",
        "convert",
        "captions.csv",
        "--images",
        "photos",
        "--out",
        "out",
    ]
    commands = {"tar": ["tar", "-cf", "all.tar", "photos"], "sclip": [*convert, "--workers", str(workers)]}
    seconds, memory = {name: [] for name in commands}, 0.0
    for turn in range(1 + repeats):
        for name, command in commands.items():
            took, peak = timed(command, folder)
            shutil.rmtree(folder / "out", ignore_errors=True)
            (folder / "all.tar").unlink(missing_ok=True)
            if turn:
                seconds[name].append(took)
                memory = max(memory, peak if name == "sclip" else 0.0)
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    hashing, headers = extra_work(folder)
    floor = middle["tar"] + (hashing + headers) / workers
    return {
        "tar_s": middle["tar"],
        "sclip_s": middle["sclip"],
        "ratio": middle["sclip"] / middle["tar"],
        "floor_s": floor,
        "floor_ratio": floor / middle["tar"],
        "peak_mb": memory,
    }


def main() -> None:
    """Measure and print what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000, help="images to convert (default: 20000)")
    parser.add_argument("--workers", type=int, default=2, help="threads of sclip convert (default: 2)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each; the median counts (default: 5)")
    parser.add_argument("--json", metavar="OUT", help="write the figures here as well")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        size = make_source(Path(name), arguments.images)
        row = measure(Path(name), arguments.workers, arguments.repeats)
    row |= {"images": arguments.images, "workers": arguments.workers, "repeats": arguments.repeats, "mb": size / 1e6}
    print(
        f"{row['images']} JPEGs, {row['mb']:.0f} MB: tar {row['tar_s']:.2f} s, sclip convert {row['sclip_s']:.2f} s, "
        f"ratio {row['ratio']:.2f} (floor {row['floor_ratio']:.2f}, limit 5); peak {row['peak_mb']:.0f} MB (limit 500)"
    )
    write_json(arguments.json, {"machine": machine(), "shards": row})


if __name__ == "__main__":
    main()
