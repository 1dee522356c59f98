"""The time and memory of converting images byte for byte, against `tar -cf` of the same files, and of shrinking them.

    python benchmarks/shards.py
    python benchmarks/shards.py --kind icons
    python benchmarks/shards.py --kind photos --images 5000
    python benchmarks/shards.py --kind photos --images 1000 --resize 256 --repeats 3

Both sides read every file and write one copy of it. `sclip convert` also reads headers, hashes, looks for equal images,
writes captions, sizes and a manifest, and syncs every shard to the disk. The floor is tar's own time, plus the time of
a SHA-256 of the bytes and of a look at every header divided by the workers.

With `--resize`, the other side is a bare loop in as many threads: it reads, decodes, resizes and encodes every file by
the same calls of PIL, and keeps nothing. Its time is that of the loop alone, without the start of its process.
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
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from timing import machine, write_json
from tqdm import tqdm

from sclip_plugin.shards.images import JPEG_QUALITY, Transform, inspect
from sclip_plugin.shards.locator import FileImage

BASES = 100  # different pictures of photographs; each file also has a comment of its own
SIZES = {"pictures": (480, 360), "photos": (900, 675), "icons": (48, 48)}  # JPEGs of 57 and 170 KB, PNGs of 0.5 KB


def pictures(size: tuple[int, int]) -> list[bytes]:
    """`BASES` different JPEGs."""
    rng, found = np.random.default_rng(0), []
    width, height = size
    for _ in range(BASES):
        base = Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)).resize(size, Image.BICUBIC)
        noisy = np.asarray(base).astype(np.int16) + rng.normal(0, 8, (height, width, 1)).astype(np.int16)
        buffer = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
        found.append(buffer.getvalue())
    return found


def icon(number: int) -> bytes:
    """A PNG of a few colours."""
    rng = np.random.default_rng(number)
    drawn = Image.new("RGB", SIZES["icons"], "white")
    for _ in range(8):
        left, top = (int(place) for place in rng.integers(0, 40, 2))
        colour = tuple(int(level) for level in rng.integers(0, 4, 3) * 85)
        ImageDraw.Draw(drawn).ellipse((left, top, left + 12, top + 12), fill=colour)
    buffer = io.BytesIO()
    drawn.convert("P", palette=Image.Palette.ADAPTIVE, colors=16).save(buffer, "PNG")
    return buffer.getvalue()


def make_source(folder: Path, kind: str, images: int) -> int:
    """Write `images` files into photos/ and captions for half of them; returns the bytes of the files."""
    (folder / "photos").mkdir()
    bases = [] if kind == "icons" else pictures(SIZES[kind])
    rows, total = [("filepath", "caption")], 0
    for number in tqdm(range(images), desc="making images", disable=None):
        if bases:
            base, note = bases[number % BASES], b"%012d" % number
            data = base[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + base[2:]
        else:
            data = icon(number)
        name = f"p{number:07d}.{'jpg' if bases else 'png'}"
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


def convert_command(workers: int) -> list[str]:
    """The conversion of what `make_source` made."""
    source = ["captions.csv", "--images", "photos", "--out", "out", "--workers", str(workers)]
    return [sys.executable, "-m", "sclip_plugin.cli", "convert", *source]


def measure(folder: Path, workers: int, repeats: int) -> dict:
    """Medians of both commands, which take turns, after one round that does not count."""
    commands = {"tar": ["tar", "-cf", "all.tar", "photos"], "sclip": convert_command(workers)}
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


def shrink(path: Path, shorter: int) -> int:
    """Read, decode, resize and encode a JPEG as `sclip convert --resize` does; the length of the result."""
    picture = Image.open(io.BytesIO(path.read_bytes()))
    scale = shorter / min(picture.size)
    width, height = (max(shorter, round(side * scale)) for side in picture.size)
    buffer = io.BytesIO()
    picture.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.tell()


def bare_loop(folder: Path, shorter: int, workers: int) -> float:
    """Seconds to shrink all files in so many threads."""
    paths = sorted((folder / "photos").iterdir())
    start = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(shrink, paths, repeat(shorter)))
    return time.perf_counter() - start


def measure_resize(folder: Path, shorter: int, workers: int, repeats: int) -> dict:
    """Medians of the bare loop and of the conversion, which take turns, after one round that does not count."""
    command = [*convert_command(workers), "--resize", str(shorter)]
    bare, sclip = [], []
    for turn in range(1 + repeats):
        loop = bare_loop(folder, shorter, workers)
        took, _ = timed(command, folder)
        shutil.rmtree(folder / "out", ignore_errors=True)
        if turn:
            bare.append(loop)
            sclip.append(took)
    seconds = {"bare_s": statistics.median(bare), "resize_s": statistics.median(sclip)}
    return {**seconds, "throughput_ratio": seconds["bare_s"] / seconds["resize_s"]}


def describe(row: dict) -> str:
    """The figures in one line."""
    if "bare_s" in row:
        times = f"bare loop {row['bare_s']:.2f} s, sclip convert --resize {row['resize_s']:.2f} s"
        return f"{times}: {row['throughput_ratio']:.2f} of its throughput (limit 0.85)"
    times = f"tar {row['tar_s']:.2f} s, sclip convert {row['sclip_s']:.2f} s"
    floor = f"floor {row['floor_ratio']:.2f}, limit 2.2 for JPEGs"
    return f"{times}, ratio {row['ratio']:.2f} ({floor}); peak {row['peak_mb']:.0f} MB (limit 500)"


def main() -> None:
    """Measure and print what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=SIZES, default="pictures", help="what is converted (default: pictures)")
    parser.add_argument("--images", type=int, default=20_000, help="images to convert (default: 20000)")
    parser.add_argument("--resize", type=int, metavar="PIXELS", help="shrink to this, against a bare loop")
    parser.add_argument("--workers", type=int, default=2, help="threads of sclip convert (default: 2)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each; the median counts (default: 5)")
    parser.add_argument("--json", metavar="OUT", help="write the figures here as well")
    arguments = parser.parse_args()
    images, workers, repeats = arguments.images, arguments.workers, arguments.repeats
    with tempfile.TemporaryDirectory() as name:
        size = make_source(Path(name), arguments.kind, images) / 1e6
        if arguments.resize:
            row = measure_resize(Path(name), arguments.resize, workers, repeats)
        else:
            row = measure(Path(name), workers, repeats)
    row |= {"kind": arguments.kind, "images": images, "workers": workers, "repeats": repeats, "mb": size}
    print(f"{images} {arguments.kind}, {size:.0f} MB: {describe(row)}")
    write_json(arguments.json, {"machine": machine(), "shards": row})


if __name__ == "__main__":
    main()
