"""The figures of docs/data.md and docs/scaling.md about shards in object storage, with the limits as they are.

python -m tests.storage.figures                       # takes some six minutes
python -m tests.storage.figures --quick               # without the store that stays silent
python -m tests.storage.figures --start-up 100000     # start-up of a rank alone, with so many shards
"""

import logging
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from fsspec.core import url_to_fs

from sclip_plugin.data.shard_list import ShardSet, expand
from sclip_plugin.storage import objects, patience
from tests.helpers.stores import BUCKET, Weather, in_between, many_shards, s3_server
from tests.storage.conftest import point_to

SHARDS = 10_000
SHARD = f"s3://{BUCKET}/set/000000.tar"


RANK = """
import resource, sys, time
from sclip_plugin.data.config import MixedConfig
from sclip_plugin.data.mixed import MixedLoader
from sclip_plugin.data.shard_list import ShardSet, expand
from fsspec.core import url_to_fs

url_to_fs(sys.argv[1])[0].exists(sys.argv[2])  # the first client takes a second to be made
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
before, began, own = peak(), time.perf_counter(), time.process_time()
found = ShardSet.of(expand(sys.argv[1], "--train-data"))
MixedLoader(MixedConfig(found, None, 64, rank=1, world_size=8), len, len)
seconds, own = time.perf_counter() - began, time.process_time() - own
print(f"{len(found.shards)} shards: {seconds:.1f} s, {own:.1f} s of them its own, {peak() - before:.0f} MB", end="")
"""


def start_up(shards: int) -> None:
    """What one rank, a process of its own, needs until it has a loader; from a server that only lists."""
    requests: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch, many_shards(shards, requests) as endpoint:
        point_to(endpoint, patch)
        for what, pattern in (("a folder", "set"), ("braces", f"set/{{000000..{shards - 1:06d}}}.tar")):
            requests.clear()
            command = [sys.executable, "-c", RANK, f"s3://{BUCKET}/{pattern}", f"s3://{BUCKET}/none"]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=dict(os.environ)).stdout
            print(f"start-up, {what}: {told}, {requests.total() - 2} requests", flush=True)  # 2 are of `exists`


def fill() -> None:
    """Many shards, one of a megabyte, with their table; written behind the server's back, which is faster."""
    from moto.s3.models import s3_backends

    (bucket,) = (held["global"] for held in s3_backends.values() if BUCKET in held["global"].buckets)
    names = [f"{number:06d}.tar" for number in range(SHARDS)]
    for name in names:
        bucket.put_object(BUCKET, f"set/{name}", bytes(1_000_000 if name == names[0] else 0))
    table = "{" + ", ".join(f'"{name}": 1000' for name in names) + "}"
    bucket.put_object(BUCKET, "set/sizes.json", table.encode())


def timed(what: str, work: Callable[[], object], weather: Weather) -> None:
    weather.requests.clear()
    patience.take_troubles()
    began = time.perf_counter()
    try:
        result = work()
    except patience.StoreDown as error:
        result = error
    seconds = time.perf_counter() - began
    troubles = ", ".join(f"{number} × {name}" for name, number in patience.take_troubles().items()) or "no trouble"
    print(f"{what}: {seconds:.1f} s, {weather.requests.total()} requests, {troubles}: {result}", flush=True)


def starting(pattern: str) -> Callable[[], str]:
    def work() -> str:
        found = ShardSet.of(expand(pattern, "--train-data"))
        return f"{len(found.shards)} shards, {found.total} samples"

    return work


def reading() -> str:
    return f"{len(objects.read(SHARD, 0, 1_000_000))} bytes"


def main() -> None:
    if "--start-up" in sys.argv:
        start_up(int(sys.argv[sys.argv.index("--start-up") + 1]))
        return
    logging.basicConfig(level=logging.ERROR)
    for name in ("werkzeug", "botocore", "aiobotocore"):
        logging.getLogger(name).setLevel(logging.ERROR)
    weather = Weather()
    with pytest.MonkeyPatch.context() as patch, s3_server() as endpoint, in_between(endpoint, weather) as between:
        point_to(between, patch)
        fill()
        url_to_fs(SHARD)[0].exists(SHARD)  # the first client takes a second to be made
        timed("start-up, a folder", starting(f"s3://{BUCKET}/set"), weather)
        timed("start-up, braces", starting(f"s3://{BUCKET}/set/{{000000..{SHARDS - 1:06d}}}.tar"), weather)
        timed("reading", reading, weather)

        def speak() -> None:
            weather.silent = 0
            weather.over.set()

        weather.silent = 10**9
        threading.Timer(20, speak).start()
        timed("silent for 20 s", reading, weather)
        weather.over.clear()
        weather.busy = 10**9
        threading.Timer(30, lambda: setattr(weather, "busy", 0)).start()
        timed("503 for 30 s", reading, weather)
        weather.cut = 20
        timed("20 bodies cut", reading, weather)
        if "--quick" not in sys.argv:
            weather.silent = 10**9
            timed("silent for ever", reading, weather)


if __name__ == "__main__":
    main()
