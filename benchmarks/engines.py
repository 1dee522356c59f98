"""Seconds and memory of conversions by threads of this machine and by the nodes of a Ray cluster on it.

    python benchmarks/engines.py
    python benchmarks/engines.py --images 2000000 --engines local:2 ray:2
    python benchmarks/engines.py --images 20000 --kind photos --resize 256
    python benchmarks/engines.py --images 20000 --s3 both

The source is tars of 1,000 samples, a tenth of them with a caption: tiny PNGs, no two of them equal, so that the cost
is that of the samples and not of their bytes, or photographs of 57 KB. `local:N` is N workers, `ray:N` a cluster of N
nodes with one core each. All engines must leave the same files. Memory is the most that a process holds of its own
(USS), looked at ten times a second; that of the index is the size of its file at its end.

`--s3 out` sends the shards to an S3 server (moto's, a process of this machine), and with `--s3 both` the source lies
there, too. It answers some hundred requests a second, and an image of a tar in a store takes two.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import fsspec
import psutil
from timing import machine, write_json
from tqdm import tqdm

from sclip_plugin.shards.tar_writer import END, member
from shards import pictures

IN_TAR = 1000  # samples
CAPTIONED = 10  # one sample in so many
STORE = 200 << 20  # bytes of a node's object store


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def tiny(number: int) -> bytes:
    """A PNG of 2 × 2 pixels that no other number has."""
    header = (2).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    row = b"\0" + number.to_bytes(4, "big") + b"\0\0"
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 2, 1)) + chunk(b"IEND", b"")
    )


def write_source(folder: Path, images: int, kind: str) -> None:
    """The tars, numbered."""
    folder.mkdir()
    bases = pictures((480, 360)) if kind == "photos" else []
    for first in tqdm(range(0, images, IN_TAR), desc="source", unit="tar"):
        with open(folder / f"{first // IN_TAR:06d}.tar", "wb") as file:
            for number in range(first, min(first + IN_TAR, images)):
                # two bytes behind a JPEG's end are no part of the picture
                data = bases[number % len(bases)] + number.to_bytes(4, "big") if bases else tiny(number)
                pieces = member(f"{number:09d}.{'jpg' if bases else 'png'}", data)
                if number % CAPTIONED == 0:
                    pieces += member(f"{number:09d}.txt", f"a picture of number {number}".encode())
                file.write(b"".join(pieces))
            file.write(END)


@dataclass
class Peaks:
    """The most that was seen, in bytes.

    Attributes:
        driver: held by the command.
        processor: seconds that the command itself took of the processor.
        workers: held by each worker of Ray's, by process.
        index: length of the scratch index.
    """

    driver: int = 0
    processor: float = 0.0
    workers: dict[int, int] = field(default_factory=dict)
    index: int = 0


def watch(process: psutil.Process, index: Path, done: threading.Event, peaks: Peaks) -> None:
    """Look at the processes and the index until the command is done."""
    while not done.wait(0.1):
        for one in psutil.process_iter(["name", "cmdline"]):
            try:
                mine = one.pid == process.pid
                if mine or (one.info["cmdline"] or [""])[0].startswith("ray::"):
                    held = one.memory_full_info().uss
                    if mine:
                        peaks.driver = max(peaks.driver, held)
                        peaks.processor = sum(one.cpu_times()[:2])
                    else:
                        peaks.workers[one.pid] = max(peaks.workers.get(one.pid, 0), held)
            except psutil.Error:
                continue
        if index.exists():
            peaks.index = max(peaks.index, index.stat().st_size)


@contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """The address of a cluster of so many nodes with one core each."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": STORE}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(1, nodes):
            made.add_node(num_cpus=1, object_store_memory=STORE)
        yield made.address
    finally:
        made.shutdown()


@contextmanager
def s3_server() -> Iterator[str]:
    """The URL of a bucket of an S3 server, which this process and those that it starts find by the environment."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    fsspec.filesystem("s3").mkdir("bucket")
    try:
        yield "s3://bucket"
    finally:
        server.stop()


def convert(source: str, out: str, flags: list[str]) -> dict[str, float]:
    """Convert once; returns seconds and memory."""
    command = [sys.executable, "-m", "sclip_plugin.cli", "convert", source, "--out", out, *flags]
    start, peaks, done = time.monotonic(), Peaks(), threading.Event()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    watcher = threading.Thread(
        target=watch, args=(psutil.Process(process.pid), Path(out, ".progress", "index.sqlite"), done, peaks)
    )
    watcher.start()
    status, seconds = process.wait(), time.monotonic() - start
    done.set()
    watcher.join()
    if status:
        sys.exit(f"{' '.join(command)}: exit status {status}")
    worker = max(peaks.workers.values(), default=0)
    found = {"seconds": seconds, "processor": peaks.processor}
    return {**found, "driver": peaks.driver, "worker": worker, "index": peaks.index}


def digest(folder: str) -> str:
    """A hash of the names and the bytes of all files below a folder, which is removed then."""
    system, root = fsspec.url_to_fs(folder)
    system.invalidate_cache()
    found = hashlib.sha256()
    for path in sorted(system.find(root)):
        found.update(path.removeprefix(root).encode())
        with system.open(path) as file:
            while block := file.read(1 << 20):
                found.update(block)
    system.rm(root, recursive=True)
    return found.hexdigest()


def main() -> None:
    """Convert with each engine and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=200_000, metavar="N")
    parser.add_argument("--kind", choices=("tiny", "photos"), default="tiny")
    parser.add_argument("--engines", nargs="+", default=["local:1", "local:2", "ray:1", "ray:2"], metavar="NAME:N")
    parser.add_argument("--resize", type=int, metavar="PIXELS")
    parser.add_argument("--s3", choices=("out", "both"), help="what lies in an S3 server")
    parser.add_argument("--folder", type=Path, help="where source and shards are written (default: a temporary one)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    more = ["--resize", str(args.resize)] if args.resize else []
    print(machine())
    results = {}
    bucket = s3_server() if args.s3 else nullcontext(None)
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch, bucket as url:
        source = f"{scratch}/source"
        write_source(Path(source), args.images, args.kind)
        if args.s3 == "both":
            fsspec.filesystem("s3").put(source, f"{url}/source", recursive=True)
            source = f"{url}/source"
        digests = set()
        print("| engine | seconds | images/s | driver: µs/image | driver MB | worker MB | index bytes/image |")
        print("|---|---|---|---|---|---|---|")
        for name in args.engines:
            engine, _, number = name.partition(":")
            out = f"{url or scratch}/out"
            if engine == "ray":
                with cluster(int(number)) as address:
                    found = convert(source, out, ["--engine", "ray", "--address", address, *more])
            else:
                found = convert(source, out, ["--workers", number, *more])
            digests.add(digest(out))
            results[name] = found
            cells = [f"{found['seconds']:.1f}", f"{args.images / found['seconds']:,.0f}"]
            cells.append(f"{1e6 * found['processor'] / args.images:.0f}")
            cells += [f"{found[what] / 1e6:.0f}" for what in ("driver", "worker")]
            print(f"| {name} | {' | '.join(cells)} | {found['index'] / args.images:.0f} |", flush=True)
    if len(digests) > 1:
        sys.exit("the engines left different files")
    print(f"the same files by all engines: {next(iter(digests))[:16]}; {os.cpu_count()} cores")
    if args.json:
        write_json(args.json, {"images": args.images, "kind": args.kind, "results": results})


if __name__ == "__main__":
    main()
