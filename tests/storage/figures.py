"""The figures of docs/data.md about shards in object storage, with the limits as they are: takes some six minutes.

python -m tests.storage.figures
python -m tests.storage.figures --quick       # without the store that stays silent
"""

import logging
import sys
import threading
import time
from collections.abc import Callable

import pytest
from fsspec.core import url_to_fs

from sclip_plugin.data.shard_list import ShardSet, expand
from sclip_plugin.storage import objects, patience
from tests.helpers.stores import BUCKET, Weather, in_between, s3_server
from tests.storage.conftest import point_to

SHARDS = 10_000
SHARD = f"s3://{BUCKET}/set/000000.tar"


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
