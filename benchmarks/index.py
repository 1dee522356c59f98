"""The index of a conversion, step by step: as it is, in SQLite, and the same steps as set operations of DuckDB.

    pip install duckdb
    python benchmarks/index.py --samples 2000000

Both hold the same samples, in one thread: names of a thousand in each of N/1000 tars, a caption for one in ten. SQLite
gets them one by one, as readers give them; DuckDB in batches of pyarrow, of 100,000, with all its memory bounded to 512
MB. DuckDB's steps give the keys, parts and orders that they would give; that they equal SQLite's is not asked.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sclip_plugin.shards.conversion.index import SampleIndex
from sclip_plugin.shards.conversion.split import Ratios, assign_keys, split
from sclip_plugin.shards.images import Verdict
from sclip_plugin.shards.locator import SliceImage
from sclip_plugin.shards.sample import Sample, Tally

IN_TAR, BYTES, CAPTIONED = 1000, 80, 10
BATCH = 100_000  # rows that DuckDB gets at a time
IN_SHARD = 1000

Times = dict[str, float]


@contextmanager
def timed(step: str, times: Times) -> Iterator[None]:
    """Add the processor time of a step."""
    start = time.process_time()
    yield
    times[step] = time.process_time() - start


def name(number: int) -> str:
    """Of a sample, below the source."""
    return f"{number // IN_TAR:06d}/{number:09d}.png"


def tar(number: int) -> str:
    """That a sample is in."""
    return f"/data/source/{number // IN_TAR:06d}.tar"


def offset(number: int) -> int:
    """Of a sample's image in its tar."""
    return number % IN_TAR * 1536


def by_sqlite(path: Path, samples: int, times: Times) -> None:
    """All steps as a conversion takes them."""
    index, tally = SampleIndex(path), Tally()
    with timed("rows in", times):
        for number in range(samples):
            captions = [f"a picture of number {number}"] if number % CAPTIONED == 0 else []
            index.add(Sample(name(number), SliceImage(tar(number), offset(number), BYTES), captions), tally)
    with timed("verdicts", times):
        for some in index.uninspected(2048):
            index.judge([(one, Verdict("png", "", BYTES, one.to_bytes(16, "big"))) for one, _ in some])
    with timed("equal images", times):
        index.mark_maybe_equal()
    with timed("keys", times):
        assign_keys(index)
    with timed("split", times):
        split(index, Ratios(0.1, 1.0, 0), Counter())
    with timed("order", times):
        parts = index.place(0)
    with timed("rows of each shard", times):
        for part, held in parts.items():
            for first in range(0, held, IN_SHARD):
                list(index.placed(part, first, min(held, first + IN_SHARD)))
    index._db.execute("COMMIT")  # a conversion never does; so that the file has all of it
    index.close()


def by_duckdb(path: Path, samples: int, times: Times) -> None:
    """The same steps as set operations."""
    import duckdb
    import pyarrow as pa

    db = duckdb.connect(str(path))
    db.execute(f"SET threads = 1; SET memory_limit = '512MB'; SET temp_directory = '{path}.tmp'")
    db.execute("CREATE TABLE samples (id BIGINT, source VARCHAR, path VARCHAR, start BIGINT, captioned BOOL)")
    db.execute("CREATE TABLE captions (sample BIGINT, text VARCHAR)")
    db.execute("CREATE TABLE verdicts (id BIGINT, size BIGINT, print BLOB)")
    batches = [range(first, min(samples, first + BATCH)) for first in range(0, samples, BATCH)]
    with timed("rows in", times):
        for some in batches:
            texts = [one for one in some if one % CAPTIONED == 0]
            rows = [list(some), list(map(name, some)), list(map(tar, some)), list(map(offset, some))]
            rows.append([one % CAPTIONED == 0 for one in some])
            table = pa.table(rows, names=["id", "source", "path", "start", "captioned"])
            db.from_arrow(table).insert_into("samples")
            said = pa.table([texts, [f"a picture of number {one}" for one in texts]], names=["sample", "text"])
            db.from_arrow(said).insert_into("captions")
    with timed("verdicts", times):
        for some in batches:
            rows = [list(some), [BYTES] * len(some), [one.to_bytes(16, "big") for one in some]]
            db.from_arrow(pa.table(rows, names=["id", "size", "print"])).insert_into("verdicts")
    alike = "SELECT size, print FROM verdicts GROUP BY ALL HAVING COUNT(*) > 1"
    with timed("equal images", times):
        db.execute(f"CREATE TABLE equal AS SELECT id FROM verdicts WHERE (size, print) IN ({alike})")
    wanted = "SELECT lower(source) AS wanted, COUNT(*) AS n FROM samples GROUP BY 1"
    made = "CASE WHEN n = 1 THEN replace(source, '/', '_') ELSE sha256(source) END AS key"
    with timed("keys", times):
        db.execute(f"CREATE TABLE keys AS SELECT id, {made} FROM samples JOIN ({wanted}) ON lower(source) = wanted")
    place = "ROW_NUMBER() OVER (PARTITION BY captioned ORDER BY sha256('0split' || source))"
    part = f"CASE WHEN NOT captioned THEN 'unpaired' WHEN {place} <= {samples // 100} THEN 'val' ELSE 'paired' END"
    with timed("split", times):
        db.execute(f"CREATE TABLE parts AS SELECT id, {part} AS part FROM samples")
    position = "ROW_NUMBER() OVER (PARTITION BY part ORDER BY sha256('0order' || source)) - 1 AS position"
    with timed("order", times):
        db.execute("CREATE TABLE texts AS SELECT sample, list(text) AS texts FROM captions GROUP BY 1")
        db.execute(
            f"CREATE TABLE places AS SELECT part, {position}, samples.*, key, size, print, texts FROM samples "
            "JOIN parts USING (id) JOIN keys USING (id) JOIN verdicts USING (id) "
            "LEFT JOIN texts ON texts.sample = samples.id ORDER BY 1, 2"
        )
    with timed("rows of each shard", times):
        found = db.execute("SELECT * FROM places ORDER BY part, position")
        while found.fetchmany(IN_SHARD):
            pass
    db.close()


WAYS = {"sqlite": by_sqlite, "duckdb": by_duckdb}


def main() -> None:
    """Time both ways, each in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=200_000, metavar="N")
    parser.add_argument("--way", choices=WAYS, help="only this one")
    args = parser.parse_args()
    if args.way is None:
        for way in WAYS:
            subprocess.run([sys.executable, __file__, "--way", way, "--samples", str(args.samples)], check=True)
        return
    times: Times = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        WAYS[args.way](path, args.samples, times)
        size = path.stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{args.way}: microseconds of processor time a sample")
    for step, seconds in times.items():
        print(f"  {step:20}{1e6 * seconds / args.samples:7.1f}")
    print(f"  {'all':20}{1e6 * sum(times.values()) / args.samples:7.1f}")
    print(f"  {size / args.samples:.0f} bytes a sample, {peak:.0f} MB at most")


if __name__ == "__main__":
    main()
