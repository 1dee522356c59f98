"""What a conversion knows of its samples, in an SQLite file, so that memory does not grow with their number.

Sources fill the index, inspection adds a verdict on each image, the split gives parts, keys and places, and the writer
reads the samples of a shard in order. This module is the only one that speaks SQL (with `schema`, which declares the
tables): each query is a named method. The file is scratch: each run makes it anew and removes it at its end.
"""

import sqlite3
import threading
from collections.abc import Collection, Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

from sclip_plugin.errors import DataError
from sclip_plugin.shards.conversion import schema
from sclip_plugin.shards.conversion.schema import pack, unpack
from sclip_plugin.shards.images import Verdict
from sclip_plugin.shards.keys import KEY_LENGTH, plain_key, stem
from sclip_plugin.shards.locator import Locator, open_image
from sclip_plugin.shards.readers.base import clean_caption
from sclip_plugin.shards.sample import Sample, Tally

GIVEN_TWICE = "given twice"
SEVERAL_LABELS = "image with several labels: none used"
LABEL_FOLDED = "label put on one line, with single spaces; labels that are equal then are one class"
CHUNK: Final = 256  # samples of a shard that are read at a time

#: ids with the places of their images, as the work on images takes them
Located = list[tuple[int, Locator]]

_COLUMNS = (
    *("source", "origin", "stem", "wanted", "form", "path", "offset", "length"),
    *("label", "grouping", "split", "unit", "key", "suffix", "recode", "fault", "size"),
)
_INSERT = f"INSERT INTO samples ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_RANGE = "places.part = ? AND position >= ? AND position < ?"
_PLACED = f"""
SELECT samples.id, source, form, path, offset, length, label, grouping, key, suffix, recode, size, fingerprint
FROM places JOIN samples ON samples.id = places.sample WHERE {_RANGE} ORDER BY position"""
_TEXTS = f"""
SELECT places.sample, text
FROM places JOIN captions ON captions.sample = places.sample WHERE {_RANGE} ORDER BY position, captions.id"""
_EQUAL = "SELECT content, COUNT(*) AS n FROM samples WHERE content IS NOT NULL GROUP BY content HAVING n > 1"


class SampleIndex:
    """The samples of a conversion, on disk. `placed` may be called from any thread, the other methods from one.

    Attributes:
        interrupted: what was raised in an SQL function of ours, an interruption for instance; the query that called it
            failed with an error of SQLite's.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")  # a scratch file: there is nothing to recover
        self._db.execute("PRAGMA page_size = 16384")  # ours: flatter trees, a fifteenth of the time of an insertion
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("PRAGMA cache_size = -65536")
        self.interrupted: list[BaseException] = []
        schema.create(self._db, self.interrupted)
        self._db.execute("BEGIN")

    def close(self) -> None:
        """Close the file. Whoever made its folder removes it."""
        self._db.close()

    def _number(self, query: str, *parameters: object) -> int:
        """The one number that a query gives, 0 where it gives none."""
        row = self._db.execute(query, parameters).fetchone()
        return row[0] or 0 if row else 0

    def _counts(self, query: str) -> dict[str, int]:
        """The rows (name, number) of a query."""
        return dict(self._db.execute(query).fetchall())

    # Filling it from the sources

    def add(self, sample: Sample, tally: Tally, origin: int = 0) -> None:
        """Store a sample, or join it with the one of the same source name. Counts it and its captions in `tally`.

        Raises:
            DataError: there is another image of the same name, or the image was in another group before.
        """
        found = self._db.execute(
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
        """The id of a new sample, None where its image is there under another name."""
        tally.images += 1
        place, base = sample.image.locator, stem(sample.source)
        unit = f"group {sample.group}" if sample.group else f"image {sample.source}"
        # a sample with a suffix comes from shards: its image is known to be good and to need no re-encoding
        known = (sample.key, sample.suffix, "", "", sample.image.size) if sample.suffix else (None,) * 5
        names = (pack(sample.source), origin, pack(base), plain_key(base))
        image = (place.form, pack(place.path), place.offset, place.length)
        label = clean_label(sample.label)
        if label != (sample.label or None):
            tally.notes[LABEL_FOLDED] += 1
        said = (label, _text(sample.group), _text(sample.split), pack(unit))
        try:
            return self._db.execute(_INSERT, (*names, *image, *said, *known)).lastrowid
        except sqlite3.IntegrityError:  # the same file under another name
            tally.skipped_images[GIVEN_TWICE] += 1
            return None

    def _join(self, sample: Sample, tally: Tally, found: tuple[int, str | None, str | None, bytes, int]) -> int:
        """The id of the sample that is there, which this one describes too."""
        number, group, label, path, offset = found
        place = sample.image.locator
        if (pack(place.path), place.offset) != (path, offset):
            raise DataError(
                f"two images of the same key: {unpack(path)} and {sample.where or place.path}: {sample.source}"
            )
        if _text(sample.group) != group:
            raise DataError(f"{sample.where}: {sample.source} is in group {sample.group!r} here and in {group!r} above")
        if label is not None and clean_label(sample.label) != label:
            self._db.execute("UPDATE samples SET label = NULL WHERE id = ?", (number,))
            tally.notes[SEVERAL_LABELS] += 1
        return number

    def _caption(self, number: int, text: str, tally: Tally) -> None:
        if not text:
            tally.skip_captions("empty caption")
        elif not self._db.execute(
            "INSERT OR IGNORE INTO captions (sample, text) VALUES (?, ?)", (number, text)
        ).rowcount:
            tally.skip_captions("duplicate caption")
        else:
            tally.captions += 1

    def has_splits(self) -> bool:
        """Whether any source says which split a sample is in."""
        return bool(self._number("SELECT EXISTS (SELECT 1 FROM samples WHERE split IS NOT NULL)"))

    # Inspection of the images

    def uninspected_count(self) -> int:
        """How many samples have no verdict."""
        return self._number("SELECT COUNT(*) FROM samples WHERE fault IS NULL")

    def uninspected(self, chunk: int) -> Iterator[Located]:
        """Chunks of the samples without a verdict."""
        return self._located("samples WHERE fault IS NULL", "id", chunk)

    def judge(self, verdicts: list[tuple[int, Verdict]]) -> None:
        """Store what inspection found of the images of these ids."""
        self._db.executemany(
            "UPDATE samples SET size = ?, suffix = ?, recode = ?, fault = ?, fingerprint = ? WHERE id = ?",
            [(one.size, one.suffix, one.recode, one.fault, one.fingerprint, number) for number, one in verdicts],
        )

    def faults(self) -> dict[str, int]:
        """How many images cannot be used, by reason."""
        return self._counts("SELECT fault, COUNT(*) FROM samples WHERE fault != '' GROUP BY fault")

    def unprinted_count(self) -> int:
        """How many samples have no fingerprint."""
        return self._number("SELECT COUNT(*) FROM samples WHERE fingerprint IS NULL")

    def unprinted(self, chunk: int) -> Iterator[Located]:
        """Chunks of the samples without a fingerprint."""
        return self._located("samples WHERE fingerprint IS NULL", "id", chunk)

    def keep_fingerprints(self, prints: list[tuple[int, bytes]]) -> None:
        """Store the fingerprints of the images of these ids."""
        self._db.executemany(
            "UPDATE samples SET fingerprint = ? WHERE id = ?", [(one, number) for number, one in prints]
        )

    def _located(self, rows: str, number: str, chunk: int, *parameters: object) -> Iterator[Located]:
        """Chunks of samples in the order of their ids, which stand in the column `number` of these rows."""
        query = f"SELECT id, form, path, offset, length FROM {rows} AND {number} > ? ORDER BY {number} LIMIT {chunk}"
        last = 0
        while found := self._db.execute(query, (*parameters, last)).fetchall():
            yield [(number, Locator(form, unpack(path), at, length)) for number, form, path, at, length in found]
            last = found[-1][0]

    # Images with the same bytes

    def mark_maybe_equal(self) -> None:
        """Mark the usable images that share size and fingerprint with another: only their bytes need be compared."""
        self._db.execute(
            "INSERT INTO maybe_equal SELECT id FROM samples WHERE fault = '' AND (size, fingerprint) IN "
            "(SELECT size, fingerprint FROM samples WHERE fault = '' AND fingerprint IS NOT NULL "
            "GROUP BY size, fingerprint HAVING COUNT(*) > 1)"
        )

    def maybe_equal(self, chunk: int) -> Iterator[Located]:
        """Chunks of the samples that `mark_maybe_equal` marked."""
        return self._located("maybe_equal JOIN samples ON id = sample WHERE TRUE", "sample", chunk)

    def keep_contents(self, hashes: list[tuple[int, bytes]]) -> None:
        """Store the hashes of the images of these ids."""
        self._db.executemany("UPDATE samples SET content = ? WHERE id = ?", [(one, number) for number, one in hashes])

    def copies(self) -> int:
        """How many images have the same bytes as another, not counting the first of each."""
        return self._number(f"SELECT SUM(n - 1) FROM ({_EQUAL})")

    def equal_names(self, groups: int, names: int) -> list[list[str]]:
        """Source names of images with the same bytes: so many groups, and of each so many names."""
        found = self._db.execute(f"{_EQUAL} ORDER BY content LIMIT ?", (groups,)).fetchall()
        query = "SELECT source FROM samples WHERE content = ? ORDER BY source LIMIT ?"
        return [
            [_printable(unpack(source)) for (source,) in self._db.execute(query, (content, names))]
            for content, _ in found
        ]

    # Keys

    def same_stem(self) -> tuple[str, str] | None:
        """The paths of two usable images whose source names differ in nothing but the suffix, None without such."""
        found = self._db.execute(
            "SELECT MIN(path), MAX(path) FROM samples WHERE fault = '' "
            "GROUP BY stem HAVING COUNT(*) > 1 ORDER BY 1 LIMIT 1"
        ).fetchone()
        return (unpack(found[0]), unpack(found[1])) if found else None

    def make_keys(self) -> None:
        """Give each usable sample that has no key one that no other sample has, also without case."""
        self._db.execute(
            "INSERT INTO wanted_keys SELECT wanted, COUNT(*) FROM samples WHERE fault = '' GROUP BY wanted"
        )
        alone = "(SELECT samples FROM wanted_keys WHERE wanted_keys.wanted = samples.wanted) = 1"
        plain = f"length(wanted) <= {KEY_LENGTH} AND trim(wanted, '_') != ''"  # as in `keys.key`, which is slower
        made = f"CASE WHEN NOT {alone} THEN make_key(source, 2) WHEN {plain} THEN wanted ELSE make_key(source, 1) END"
        self._db.execute(f"UPDATE samples SET key = {made} WHERE fault = '' AND key IS NULL")

    # The split

    def mark_usable(self) -> None:
        """Let every sample without a fault take part in the split, and note which have captions."""
        captioned = "EXISTS (SELECT 1 FROM captions WHERE sample = samples.id)"
        self._db.execute(f"UPDATE samples SET usable = 1, captioned = {captioned} WHERE fault = ''")

    def forget_splits(self) -> None:
        """Let the sources' own splits not count."""
        self._db.execute("UPDATE samples SET split = NULL")

    def hold_out(self, splits: tuple[str, ...]) -> None:
        """Hold out the samples that are in one of these splits of their source."""
        named = [_text(name) for name in splits]
        self._db.execute(f"UPDATE samples SET held = 1 WHERE usable AND split IN ({_marks(named)})", named)

    def leave_out_other_splits(self) -> dict[str, int]:
        """Leave out the samples in a split that is neither held out nor trained on; says how many, by split."""
        other = "usable AND NOT held AND split IS NOT NULL AND split != 'train'"
        counts = self._counts(f"SELECT split, COUNT(*) FROM samples WHERE {other} GROUP BY split")
        self._leave_out(other)
        return counts

    def leave_out_bare_held(self) -> int:
        """Leave out the samples without captions that are held out; says how many."""
        return self._leave_out("usable AND held AND NOT captioned")

    def make_units(self, seed: int, held_part: str) -> None:
        """Gather the captioned samples in units and give those that are held out to `held_part`."""
        self._db.execute(
            "INSERT INTO units SELECT unit, seeded(?, 'split', unit), COUNT(*), "
            "MIN(origin NOT IN (SELECT origin FROM samples WHERE held)), CASE WHEN MAX(held) THEN ? END "
            "FROM samples WHERE usable AND captioned GROUP BY unit",
            (str(seed), held_part),
        )

    def undecided(self, free: bool = False) -> int:
        """How many samples are in units without a part; `free`: of sources that hold out nothing themselves."""
        return self._number(f"SELECT SUM(members) FROM units WHERE {_undecided(free)}")

    def give_units(self, part: str, wanted: int, free: bool = False) -> None:
        """Give `part` the first units without a part, in the seeded order, that hold `wanted` samples together."""
        running = (
            f"SELECT unit, SUM(members) OVER (ORDER BY place) - members AS before FROM units WHERE {_undecided(free)}"
        )
        self._db.execute(
            f"UPDATE units SET part = ? WHERE unit IN (SELECT unit FROM ({running}) WHERE before < ?)", (part, wanted)
        )

    def give_other_units(self, part: str) -> None:
        """Give `part` all units that have none."""
        self._db.execute("UPDATE units SET part = ? WHERE part IS NULL", (part,))

    def follow_units(self) -> None:
        """Put each usable sample into the part of its unit."""
        self._db.execute(
            "UPDATE samples SET part = (SELECT part FROM units WHERE units.unit = samples.unit) WHERE usable"
        )

    def leave_out_bare_of(self, parts: tuple[str, ...]) -> int:
        """Leave out the samples without captions whose group is in one of these parts; says how many."""
        return self._leave_out(f"usable AND NOT captioned AND part IN ({_marks(parts)})", *parts)

    def give_bare(self, part: str) -> None:
        """Put the usable samples without captions into `part`."""
        self._db.execute("UPDATE samples SET part = ? WHERE usable AND NOT captioned", (part,))

    def leave_out_copies(self, part: str, others: tuple[str, ...]) -> int:
        """Leave out the samples of `part` whose bytes stand in one of the other parts too; says how many."""
        contents = f"SELECT content FROM samples WHERE part IN ({_marks(others)})"
        return self._leave_out(f"part = ? AND content IN ({contents})", part, *others)

    def sizes(self, part: str) -> set[int]:
        """The lengths in bytes of the images of a part."""
        return {size for (size,) in self._db.execute("SELECT DISTINCT size FROM samples WHERE part = ?", (part,))}

    def of_part(self, part: str, chunk: int) -> Iterator[Located]:
        """Chunks of the samples of a part."""
        return self._located("samples WHERE part = ?", "id", chunk, part)

    def leave_out(self, numbers: list[int]) -> int:
        """Leave out the samples of these ids; says how many."""
        return sum(self._leave_out("id = ?", number) for number in numbers)

    def leave_out_other_parts(self, part: str) -> int:
        """Leave out the samples of every part but this; says how many."""
        return self._leave_out("usable AND part != ?", part)

    def leave_out_unlabelled(self) -> int:
        """Leave out the samples without a label; says how many."""
        return self._leave_out("usable AND label IS NULL")

    def gather(self, part: str) -> None:
        """Put all usable samples into one part."""
        self._db.execute("UPDATE samples SET part = ? WHERE usable", (part,))

    def _leave_out(self, condition: str, *parameters: object) -> int:
        return self._db.execute(f"UPDATE samples SET usable = 0, part = NULL WHERE {condition}", parameters).rowcount

    # What the split gave

    def labels(self, part: str) -> list[str]:
        """The labels of a part, each once, sorted."""
        query = "SELECT DISTINCT label FROM samples WHERE part = ? AND label IS NOT NULL ORDER BY label"
        return [label for (label,) in self._db.execute(query, (part,))]

    def hide_captions(self, part: str) -> int:
        """Remove the captions of a part; says how many there were."""
        hidden = "SELECT id FROM samples WHERE part = ? AND captioned"
        return self._db.execute(f"DELETE FROM captions WHERE sample IN ({hidden})", (part,)).rowcount

    def captions_without_part(self) -> int:
        """How many captions belong to samples that are left out."""
        return self._number("SELECT COUNT(*) FROM captions JOIN samples ON samples.id = sample WHERE part IS NULL")

    def captions_by_part(self) -> dict[str, int]:
        """How many captions each part has."""
        return self._counts(
            "SELECT part, COUNT(*) FROM captions JOIN samples ON samples.id = sample "
            "WHERE part IS NOT NULL GROUP BY part"
        )

    def recoded(self) -> dict[str, int]:
        """How many images of all parts must be re-encoded, by reason."""
        return self._counts(
            "SELECT recode, COUNT(*) FROM samples WHERE part IS NOT NULL AND recode != '' GROUP BY recode"
        )

    def kinds_of_sample(self) -> list[tuple[str, str, bool, bool]]:
        """(part, suffix, whether such a sample has a label, whether one has a group), each part and suffix once."""
        query = (
            "SELECT part, suffix, MAX(label IS NOT NULL), MAX(grouping IS NOT NULL) FROM samples "
            "WHERE part IS NOT NULL GROUP BY part, suffix ORDER BY part, suffix"
        )
        return [(part, suffix, bool(one), bool(other)) for part, suffix, one, other in self._db.execute(query)]

    # The order in the shards

    def place(self, seed: int) -> dict[str, int]:
        """Number the samples of each part in the seeded order; returns {part: samples}."""
        self._db.execute(
            "INSERT INTO places "
            "SELECT part, ROW_NUMBER() OVER (PARTITION BY part ORDER BY seeded(?, 'order', source)) - 1, id "
            "FROM samples WHERE usable",
            (str(seed),),
        )
        return self._counts("SELECT part, COUNT(*) FROM places GROUP BY part")

    def placed(self, part: str, first: int, stop: int) -> Iterator[Sample]:
        """The samples of a part at positions first … stop-1; a chunk of them is in memory at a time."""
        for begin in range(first, stop, CHUNK):
            yield from self._chunk(part, begin, min(begin + CHUNK, stop))

    def _chunk(self, part: str, first: int, stop: int) -> list[Sample]:
        with self._lock:
            rows = self._db.execute(_PLACED, (part, first, stop)).fetchall()
            texts = self._db.execute(_TEXTS, (part, first, stop)).fetchall()
        captions = {number: [text for _, text in of] for number, of in groupby(texts, key=lambda row: row[0])}
        return [_sample(row, captions.get(row[0], [])) for row in rows]


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def _undecided(free: bool) -> str:
    return "part IS NULL AND free" if free else "part IS NULL"


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


def clean_label(label: str | None) -> str | None:
    """A label on one line, as class lists have it; None where nothing is left. Lone surrogates become escapes.

    White space is treated as in captions, so that whatever ends a line for anybody is one space. Unlike there, names
    that differ in what is not UTF-8 stay different, or two classes would become one.
    """
    return clean_caption(_printable(label)) or None if label else None


def _printable(text: str) -> str:
    """The text with escapes in the place of lone surrogates, which cannot be encoded."""
    return text.encode("utf-8", "backslashreplace").decode()


def _text(name: str | None) -> str | None:
    return _printable(name) if name else None
