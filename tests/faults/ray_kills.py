"""SIGKILL at random moments of conversions on a Ray cluster: of the command, which is started again, or of a node.

    python -m tests.faults.ray_kills --kills 20 --seed 0

The cluster has three nodes on this machine; a node that was killed is replaced after the run. Half of the kills hit the
command. Every run must end with the files, and the bytes, of one conversion by the local engine. Prints a line for each
kill; the exit status is 0 where nothing differs.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sclip_plugin import cli
from tests.helpers.conversion import image, tree, write_csv

MEMORY = 80 << 20  # of a node's object store
NODES = 3
LONGEST = 120  # seconds; a run that takes longer hangs


def source(root: Path) -> list[str]:
    """The words of a conversion of 1,600 images, which are re-encoded, without an output folder."""
    rows = [(f"{n:04d}.jpg", f"a photo of tree {n}") for n in range(1600)]
    (root / "photos").mkdir()
    for number, (name, _) in enumerate(rows):
        (root / "photos" / name).write_bytes(image(number, size=(160, 120)))
    table = write_csv(root / "captions.csv", rows, header=("filepath", "caption"))
    words = ["convert", table, "--images", root / "photos", "--paired-ratio", 0.5, "--shard-size", 40, "--quality", 80]
    return list(map(str, words))


def start(words: list[str]) -> subprocess.Popen:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "sclip_plugin.cli", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def main(argv: list[str]) -> int:
    """Kill as often as the command line asks for. Returns 0 where nothing differs, else 1."""
    from ray.cluster_utils import Cluster

    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.ray_kills", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--kills", type=int, default=20, help="kills that hit (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments (default: 0)")
    args = parser.parse_args(argv)
    rng = random.Random(args.seed)
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": MEMORY}
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            return kill(Path(folder), cluster, args.kills, rng)
    finally:
        cluster.shutdown()


def kill(root: Path, cluster, kills: int, rng: random.Random) -> int:
    """Run until so many kills have hit; returns 0 where nothing differs, else 1."""
    words = source(root)
    assert cli.main([*words, "--out", str(root / "whole"), "--workers", "2"]) == 0
    expected, hits, differences, number, seconds = tree(root / "whole"), 0, 0, 0, 0.0
    while hits < kills:
        while len(cluster.list_all_nodes()) < NODES:
            cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
        out = root / f"out{number}"
        run = [*words, "--out", str(out), "--engine", "ray", "--address", cluster.address]
        begun, process = time.monotonic(), start(run)
        what = "nothing" if not number else rng.choice(["command", "node"])
        moment = rng.uniform(0, seconds)
        try:
            process.wait(moment if number else LONGEST)
            what = "nothing"
        except subprocess.TimeoutExpired:
            hits += 1
            if what == "command":
                process.kill()
                process.wait()
                process = start(run)
            else:
                cluster.remove_node(rng.choice(list(cluster.worker_nodes)), allow_graceful=False)
        _, error = process.communicate(timeout=LONGEST)
        seconds = seconds or time.monotonic() - begun
        same = process.returncode == 0 and tree(out) == expected
        differences += not same
        if not (same or number):
            sys.exit(f"the unbroken run failed: {error[-2000:]}")
        told = (
            f"{what} killed after {moment:.1f} s"
            if what != "nothing"
            else f"unbroken, {time.monotonic() - begun:.1f} s"
        )
        print(
            f"{number}: {told}: {'same bytes' if same else f'DIFFERENT (exit {process.returncode}) {error[-300:]}'}",
            flush=True,
        )
        number += 1
    print(f"ray: {hits} kills, {differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
