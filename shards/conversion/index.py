"""What a conversion knows of its samples, in an SQLite file: memory does not grow with their number.

The readers fill it, inspection adds a verdict on each image, the plan (`plan.py`) adds keys and places, and the writer
reads the samples of a shard in order. It is a scratch file, made anew by each run and removed at its end.
"""

import sqlite3
import threading
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from sclip_plugin.errors import DataError
from sclip_plugin.shards.images import Verdict
from sclip_plugin.shards.keys import plain_key, stem
from sclip_plugin.shards.locator import Locator, open_image
from sclip_plugin.shards.readers.base import clean_caption
from sclip_plugin.shards.sample import Sample, Tally

GIVEN_TWICE = "given twice"
SEVERAL_LABELS = "image with several labels: none used"
CHUNK = 256  # samples read, or inspected, at a time

# file names may hold bytes that are no UTF-8, so whatever derives from them is stored as bytes
_SCHEMA = """
CREATE TABLE samples (
    id INTEGER PRIMARY KEY, source BLOB NOT NULL UNIQUE, origin INTEGER NOT NULL, stem BLOB NOT NULL,
    wanted TEXT NOT NULL, form TEXT NOT NULL, path BLOB NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
    label TEXT, grouping TEXT, split TEXT, unit BLOB NOT NULL, captioned INTEGER NOT NULL DEFAULT 0,
    size INTEGER, suffix TEXT, recode TEXT, fault TEXT, fingerprint BLOB, content BLOB,
    key TEXT, part TEXT, UNIQUE (path, offset));
CREATE TABLE captions (
    id INTEGER PRIMARY KEY, sample INTEGER NOT NULL, text TEXT NOT NULL, UNIQUE (sample, text));
CREATE TABLE places (
    part TEXT, position INTEGER, sample INTEGER NOT NULL, PRIMARY KEY (part, position)) WITHOUT ROWID;
"""

_RANGE = "places.part = ? AND position >= ? AND position < ?"
_PLACED = f"""
SELECT samples.id, source, form, path, offset, length, label, grouping, key, suffix, recode, size, fingerprint
FROM places JOIN samples ON samples.id = places.sample WHERE {_RANGE} ORDER BY position"""
_TEXTS = f"""
SELECT places.sample, text
FROM places JOIN captions ON captions.sample = places.sample WHERE {_RANGE} ORDER BY position, captions.id"""


def pack(text: str) -> bytes:
    """A name that may come from the file system, as the index stores it."""
    return text.encode("utf-8", "surrogatepass")


def unpack(data: bytes) -> str:
    """Inverse of `pack`."""
    return data.decode("utf-8", "surrogatepass")


class SampleIndex:
    """Samples on disk. `placed` and `one` may be called from any thread, the other methods from one."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self.lock = threading.RLock()
        self.db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = OFF")  # a scratch file: nothing to recover
        self.db.execute("PRAGMA synchronous = OFF")
        self.db.execute("PRAGMA cache_size = -65536")
        self.db.executescript(_SCHEMA)
        self.db.execute("BEGIN")

    def close(self) -> None:
        """Forget the file; whoever made its folder removes it."""
        self.db.close()

    def add(self, sample: Sample, tally: Tally, origin: int = 0) -> None:
        """Store a sample, or join it with the one of the same source name; counts it and its captions in `tally`.

        Raises:
            DataError: another image of the same name; the image is in another group here than above.
        """
        found = self.db.execute(
            "SELECT id, grouping, label, path, offset FROM samples WHERE source = ?", (pack(sample.source),)
        ).fetchone()
        if found is not None and sample.bare:
            return
        number = self._insert(sample, tally, origin) if found is None else self._join(sample, tally, found)
        for caption in sample.captions:
            if number is None:
                tally.skip_captions(GIVEN_TWICE)
            else:
                self._caption(number, clean_caption(caption), tally)

    def _insert(self, sample: Sample, tally: Tally, origin: int) -> int | None:
        tally.images += 1
        place, base = sample.image.locator, stem(sample.source)
        unit = f"group {sample.group}" if sample.group else f"image {sample.source}"
        row = (pack(sample.source), origin, pack(base), plain_key(base).casefold(), place.form, pack(place.path))
        row += (place.offset, place.length, _text(sample.label), _text(sample.group), sample.split, pack(unit))
        columns = "source, origin, stem, wanted, form, path, offset, length, label, grouping, split, unit"
        if sample.suffix:  # from shards: known to be good
            row += (sample.key, sample.suffix, "", "", sample.image.size)
            columns += ", key, suffix, recode, fault, size"
        marks = ", ".join("?" * len(row))
        try:
            return self.db.execute(f"INSERT INTO samples ({columns}) VALUES ({marks})", row).lastrowid
        except sqlite3.IntegrityError:  # the same file under another name
            tally.skipped_images[GIVEN_TWICE] += 1
            return None

    def _join(self, sample: Sample, tally: Tally, found: tuple) -> int:
        number, group, label, path, offset = found
        place = sample.image.locator
        if (pack(place.path), place.offset) != (path, offset):
            raise DataError(
                f"two images of the same key: {unpack(path)} and {sample.where or place.path}: {sample.source}"
            )
        if _text(sample.group) != group:
            raise DataError(f"{sample.where}: {sample.source} is in group {sample.group!r} here and in {group!r} above")
        if label is not None and _text(sample.label) != label:
            self.db.execute("UPDATE samples SET label = NULL WHERE id = ?", (number,))
            tally.notes[SEVERAL_LABELS] += 1
        return number

    def _caption(self, number: int, text: str, tally: Tally) -> None:
        if not text:
            tally.skip_captions("empty caption")
        elif not self.db.execute(
            "INSERT OR IGNORE INTO captions (sample, text) VALUES (?, ?)", (number, text)
        ).rowcount:
            tally.skip_captions("duplicate caption")
        else:
            tally.captions += 1
            self.db.execute("UPDATE samples SET captioned = 1 WHERE id = ? AND captioned = 0", (number,))

    def one(self, query: str, *parameters):
        """First value of the first row, None without rows."""
        with self.lock:
            row = self.db.execute(query, parameters).fetchone()
        return None if row is None else row[0]

    def uninspected(self) -> Iterator[list[tuple[int, Locator]]]:
        """Chunks of (id, locator) of the samples without a verdict."""
        yield from self._located("samples WHERE fault IS NULL")

    def unprinted(self) -> Iterator[list[tuple[int, Locator]]]:
        """Chunks of (id, locator) of the samples without a fingerprint."""
        yield from self._located("samples WHERE fingerprint IS NULL")

    def candidates(self) -> Iterator[list[tuple[int, Locator]]]:
        """Chunks of (id, locator) of the usable images that share size and fingerprint with another."""
        self.db.execute(
            "CREATE TABLE alike AS SELECT size, fingerprint FROM samples WHERE fault = '' AND fingerprint IS NOT NULL "
            "GROUP BY size, fingerprint HAVING COUNT(*) > 1"
        )
        self.db.execute("CREATE TABLE twins (twin INTEGER PRIMARY KEY)")
        self.db.execute(
            "INSERT INTO twins SELECT id FROM samples JOIN alike USING (size, fingerprint) WHERE fault = ''"
        )
        yield from self._located("twins JOIN samples ON id = twin WHERE twin > 0")

    def _located(self, rows: str) -> Iterator[list[tuple[int, Locator]]]:
        last = 0
        query = f"SELECT id, form, path, offset, length FROM {rows} AND id > ? ORDER BY id LIMIT {CHUNK}"
        while found := self.db.execute(query, (last,)).fetchall():
            yield [(number, Locator(form, unpack(path), at, length)) for number, form, path, at, length in found]
            last = found[-1][0]

    def judge(self, verdicts: list[tuple[int, Verdict]]) -> None:
        """Store what inspection found."""
        self.db.executemany(
            "UPDATE samples SET size = ?, suffix = ?, recode = ?, fault = ?, fingerprint = ? WHERE id = ?",
            [(one.size, one.suffix, one.recode, one.fault, one.fingerprint, number) for number, one in verdicts],
        )

    def placed(self, part: str, first: int, stop: int) -> Iterator[Sample]:
        """The samples of a part at positions first … stop-1, a chunk in memory at a time."""
        for begin in range(first, stop, CHUNK):
            yield from self._chunk(part, begin, min(begin + CHUNK, stop))

    def _chunk(self, part: str, first: int, stop: int) -> list[Sample]:
        with self.lock:
            rows = self.db.execute(_PLACED, (part, first, stop)).fetchall()
            texts = self.db.execute(_TEXTS, (part, first, stop)).fetchall()
        captions = {number: [text for _, text in of] for number, of in groupby(texts, key=lambda row: row[0])}
        return [_sample(row, captions.get(row[0], [])) for row in rows]


def _sample(row: tuple, captions: list[str]) -> Sample:
    _, source, form, path, offset, length, label, group, key, suffix, recode, size, fingerprint = row
    return Sample(
        source=unpack(source),
        image=open_image(Locator(form, unpack(path), offset, length)),
        captions=captions,
        label=label,
        group=group,
        key=key,
        suffix=suffix,
        recode=recode,
        size=size,
        fingerprint=fingerprint or b"",
    )


def _text(name: str | None) -> str | None:
    return name.encode("utf-8", "replace").decode() if name else None
