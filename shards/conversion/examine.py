"""Looking at every image of an index once: can it be used, must it be re-encoded, is it there twice?"""

import hashlib
import time
from dataclasses import replace
from itertools import islice

from tqdm import tqdm

from sclip_plugin.shards.conversion.index import SampleIndex
from sclip_plugin.shards.conversion.split import WITH_IMAGE
from sclip_plugin.shards.images import Transform, Verdict, fingerprint_of, inspect
from sclip_plugin.shards.locator import Locator, open_image
from sclip_plugin.shards.sample import Tally
from sclip_plugin.shards.threads import in_threads

TWICE = "image with the same bytes as another"
LISTED, NAMED = 1000, 20  # groups of equal images in the manifest, and names in a group


def examine(index: SampleIndex, transform: Transform, check: bool, workers: int, tally: Tally) -> None:
    """Store a verdict on each image that has none; faults are counted in `tally` with the captions they take along."""
    total = index.one("SELECT COUNT(*) FROM samples WHERE fault IS NULL")
    chunks = index.uninspected()
    with tqdm(total=total, desc="inspecting", unit="image", disable=None) as bar:

        def keep(verdicts: list[tuple[int, Verdict]]) -> None:
            index.judge(verdicts)
            bar.update(len(verdicts))

        wall, busy = time.perf_counter(), time.thread_time()
        for some in islice(chunks, 1):
            keep(_verdicts(some, transform, check))
        # reading headers is work in Python, which threads share and hinder each other at; where it waits for the disk,
        # and where images are decoded, they help
        waits = time.thread_time() - busy < 0.5 * (time.perf_counter() - wall)
        threads = workers if check or waits else 1
        for verdicts in in_threads(lambda some: _verdicts(some, transform, check), chunks, threads):
            keep(verdicts)
    faults = index.db.execute("SELECT fault, COUNT(*) FROM samples WHERE fault != '' GROUP BY fault").fetchall()
    tally.skipped_images.update(dict(faults))


def _verdicts(some: list[tuple[int, Locator]], transform: Transform, check: bool) -> list[tuple[int, Verdict]]:
    return [(number, _verdict(place, transform, check)) for number, place in some]


def _verdict(place: Locator, transform: Transform, check: bool) -> Verdict:
    verdict = inspect(open_image(place), transform, check)
    return replace(verdict, recode="pixel array") if place.form == "pixels" and not verdict.fault else verdict


def fingerprint(index: SampleIndex, workers: int) -> None:
    """Store the fingerprints of images that are known to be good and were not looked at."""
    total = index.one("SELECT COUNT(*) FROM samples WHERE fingerprint IS NULL")
    with tqdm(total=total, desc="fingerprints", unit="image", disable=None) as bar:
        for prints in in_threads(_fingerprints, index.unprinted(), workers):
            index.db.executemany("UPDATE samples SET fingerprint = ? WHERE id = ?", prints)
            bar.update(len(prints))


def _fingerprints(some: list[tuple[int, Locator]]) -> list[tuple[bytes, int]]:
    found = []
    for number, place in some:
        image = open_image(place)
        with image.open() as file:
            found.append((fingerprint_of(file, image.size), number))
    return found


def find_equal(index: SampleIndex, workers: int, tally: Tally) -> list[list[str]]:
    """Find images with the same bytes; only those of equal size and fingerprint are read.

    Returns:
        Source names of equal images, in groups: the first `LISTED` groups, the first `NAMED` of each.
    """
    for hashes in in_threads(_hashes, index.candidates(), workers):
        index.db.executemany("UPDATE samples SET content = ? WHERE id = ?", hashes)
    index.db.execute("CREATE INDEX by_content ON samples (content) WHERE content IS NOT NULL")
    groups = "SELECT content, COUNT(*) AS n FROM samples WHERE content IS NOT NULL GROUP BY content HAVING n > 1"
    tally.notes[TWICE] += index.one(f"SELECT COALESCE(SUM(n - 1), 0) FROM ({groups})")
    firsts = index.db.execute(f"{groups} ORDER BY content LIMIT {LISTED}").fetchall()
    names = f"SELECT source FROM samples WHERE content = ? ORDER BY source LIMIT {NAMED}"
    return sorted(
        [source.decode("utf-8", "replace") for (source,) in index.db.execute(names, (content,))]
        for content, _ in firsts
    )


def _hashes(some: list[tuple[int, Locator]]) -> list[tuple[bytes, int]]:
    return [(hashlib.sha256(open_image(place).read()).digest(), number) for number, place in some]


def skipped_captions(index: SampleIndex, tally: Tally) -> None:
    """Count the captions of images that have no part."""
    without = "SELECT COUNT(*) FROM captions JOIN samples ON samples.id = sample WHERE part IS NULL"
    tally.skipped_captions[WITH_IMAGE] += index.one(without)
