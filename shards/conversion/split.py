"""Who goes where: keys, duplicates, the split into val, paired and unpaired, and the order within each.

Everything is ordered by a hash of seed and name, not by position, so that a smaller set is part of a larger one and
adding images moves few of the others. Works on a `SampleIndex`; memory does not grow with the number of samples.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from sclip_plugin.errors import DataError
from sclip_plugin.shards.conversion.index import SampleIndex, unpack
from sclip_plugin.shards.keys import key
from sclip_plugin.shards.layout import CLASSES, PAIRED, UNPAIRED, VAL

SHARD_SIZE = 1000  # ours: about 100 MB of ordinary photographs
LEAST_SHARDS = 4  # ours: so that a few loader workers have one each
UNPAIRED_GROUP = "no caption, and its group is in paired or val"
HELD_OUT_BARE = "no caption, and held out by the source's own split"
SAME_BYTES = "held out, but the same bytes are in paired or unpaired"
NOT_READ_HERE = "in the source's own split {!r}"
WITH_IMAGE = "its image was skipped"
HELD_OUT = ("val", "test")  # splits of a source that are held out, unless told otherwise


@dataclass(frozen=True)
class Ratios:
    """val, paired: shares (`split`). held_out: splits of the source that are held out; None: ignore them."""

    val: float
    paired: float
    seed: int
    held_out: tuple[str, ...] | None = HELD_OUT


def rank(seed: int, salt: str, name: bytes) -> bytes:
    """Position of `name` in the seeded order."""
    return hashlib.sha256(f"{seed}\0{salt}\0".encode() + name).digest()


def assign_keys(index: SampleIndex) -> None:
    """Give every usable sample that has none its key: the source's path without suffix, in letters, digits, `_`, `-`.

    Keys that would come out equal (also without case) get eight digits of the source's hash.

    Raises:
        DataError: two sources that differ in nothing but the suffix; names both.
    """
    db = index.db
    twice = db.execute(
        "SELECT MIN(path), MAX(path) FROM samples WHERE fault = '' GROUP BY stem HAVING COUNT(*) > 1 ORDER BY 1 LIMIT 1"
    ).fetchone()
    if twice:
        raise DataError(f"two images of the same key: {unpack(twice[0])} and {unpack(twice[1])}; rename or remove one")
    db.create_function("make_key", 2, lambda source, alike: key(unpack(source), alike == 1), deterministic=True)
    db.execute("CREATE TABLE wanted AS SELECT wanted, COUNT(*) AS alike FROM samples WHERE fault = '' GROUP BY wanted")
    db.execute("CREATE UNIQUE INDEX wanted_name ON wanted (wanted)")
    db.execute(
        "UPDATE samples SET key = make_key(source, (SELECT alike FROM wanted WHERE wanted.wanted = samples.wanted)) "
        "WHERE fault = '' AND key IS NULL"
    )


def split(index: SampleIndex, ratios: Ratios, skipped: Counter) -> None:
    """Put each usable sample into paired, unpaired or val.

    Val is taken first, `ratios.val` of the images with captions (of a source that holds some out itself: those), then
    `ratios.paired` of the rest; the others' captions are hidden. A group is taken whole, so that counts may exceed the
    ratios by part of a group. Left out, counted in `skipped`: images in a split of the source that is neither trained
    on nor held out, captionless images whose group went to paired or val or that the source holds out, and images of
    val whose bytes stand in paired or unpaired too.
    """
    db = index.db
    db.create_function("seeded", 3, rank, deterministic=True)
    _take_source_splits(db, ratios, skipped)
    _make_units(db, ratios)
    free = index.one("SELECT COALESCE(SUM(members), 0) FROM units WHERE free")
    _take(db, VAL, round(ratios.val * free), "free AND part IS NULL")
    left = index.one("SELECT COALESCE(SUM(members), 0) FROM units WHERE part IS NULL")
    _take(db, PAIRED, max(1, round(ratios.paired * left)), "part IS NULL")
    db.execute("UPDATE units SET part = ? WHERE part IS NULL", (UNPAIRED,))
    db.execute("UPDATE samples SET part = (SELECT part FROM units WHERE units.unit = samples.unit) WHERE usable")
    _place_captionless(db, skipped)
    trained = f"SELECT content FROM samples WHERE part IN ('{PAIRED}', '{UNPAIRED}')"
    _drop(db, skipped, SAME_BYTES, f"part = '{VAL}' AND content IN ({trained})")


def _take_source_splits(db, ratios: Ratios, skipped: Counter) -> None:
    """Mark what may be used at all, and what the source itself holds out."""
    db.execute("ALTER TABLE samples ADD COLUMN usable INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE samples ADD COLUMN held INTEGER NOT NULL DEFAULT 0")
    db.execute("UPDATE samples SET usable = 1 WHERE fault = ''")
    if ratios.held_out is None:
        db.execute("UPDATE samples SET split = NULL")
        return
    marks = ", ".join("?" * len(ratios.held_out))
    db.execute(f"UPDATE samples SET held = 1 WHERE usable AND split IN ({marks})", ratios.held_out)
    other = "usable AND NOT held AND split IS NOT NULL AND split != 'train'"
    for name, number in db.execute(f"SELECT split, COUNT(*) FROM samples WHERE {other} GROUP BY split").fetchall():
        skipped[NOT_READ_HERE.format(name)] += number
    db.execute(f"UPDATE samples SET usable = 0 WHERE {other}")
    skipped[HELD_OUT_BARE] += db.execute(
        "UPDATE samples SET usable = 0 WHERE usable AND held AND NOT captioned"
    ).rowcount


def _make_units(db, ratios: Ratios) -> None:
    """What is split is a unit: a group, or an image without one. free: its source holds out nothing itself."""
    db.execute(
        "CREATE TABLE units AS SELECT unit, seeded(?, 'split', unit) AS place, COUNT(*) AS members, "
        "MAX(held) AS held, MIN(origin NOT IN (SELECT origin FROM samples WHERE held)) AS free, "
        "NULL AS part FROM samples WHERE usable AND captioned GROUP BY unit ORDER BY 2",
        (ratios.seed,),
    )
    db.execute("CREATE UNIQUE INDEX unit_name ON units (unit)")
    db.execute("UPDATE units SET part = ? WHERE held", (VAL,))


def _take(db, part: str, wanted: int, condition: str) -> None:
    """Give `part` the first units, in the seeded order, that hold `wanted` samples together."""
    running = (
        f"SELECT rowid AS unit, SUM(members) OVER (ORDER BY rowid) - members AS before FROM units WHERE {condition}"
    )
    db.execute(
        f"UPDATE units SET part = ? WHERE rowid IN (SELECT unit FROM ({running}) WHERE before < ?)", (part, wanted)
    )


def _place_captionless(db, skipped: Counter) -> None:
    """Images without a caption are unpaired, unless their group has gone elsewhere."""
    bare = "usable AND NOT captioned"
    _drop(db, skipped, UNPAIRED_GROUP, f"{bare} AND part IN ('{PAIRED}', '{VAL}')")
    db.execute(f"UPDATE samples SET part = ? WHERE {bare}", (UNPAIRED,))


def _drop(db, skipped: Counter, reason: str, condition: str) -> None:
    skipped[reason] += db.execute(f"UPDATE samples SET usable = 0, part = NULL WHERE {condition}").rowcount


def take_labelled(index: SampleIndex, subset: str, skipped: Counter) -> list[str]:
    """Turn the split into a classification set: of the parts (or one, `subset`) the images with a label.

    Returns:
        The class names, sorted.
    """
    if subset != "all":
        _drop(index.db, skipped, f"not in --subset {subset}", f"usable AND part != '{subset}'")
    _drop(index.db, skipped, "no label", "usable AND label IS NULL")
    index.db.execute("UPDATE samples SET part = ? WHERE usable", (CLASSES,))
    return [name for (name,) in index.db.execute("SELECT DISTINCT label FROM samples WHERE usable ORDER BY label")]


def place(index: SampleIndex, seed: int) -> dict[str, int]:
    """Number the samples of each part in the seeded order; {part: samples}."""
    index.db.execute(
        "INSERT INTO places "
        "SELECT part, ROW_NUMBER() OVER (PARTITION BY part ORDER BY seeded(?, 'order', source)) - 1, id "
        "FROM samples WHERE usable",
        (seed,),
    )
    return dict(index.db.execute("SELECT part, COUNT(*) FROM places GROUP BY part").fetchall())


def shard_count(samples: int, shards: int | None = None, size: int | None = None) -> int:
    """How many shards for so many samples: `shards`, or ceil(samples / size), or by default ceil(samples / 1000) and
    at least 4 where each then holds 4 samples. Never more shards than samples; 0 for none."""
    if samples == 0:
        return 0
    if shards is None:
        shards = -(-samples // (size or SHARD_SIZE))
        if size is None:
            shards = max(shards, min(LEAST_SHARDS, samples // LEAST_SHARDS))
    return min(max(1, shards), samples)


def cut(samples: int, shards: int) -> list[tuple[int, int]]:
    """(first, stop) of each of `shards` runs of 0 … samples-1 whose lengths differ by at most one."""
    edges = [samples * number // shards for number in range(shards + 1)] if shards else []
    return list(pairwise(edges))
