"""Looking at every image of an index once: whether it can be used, must be re-encoded, or is there twice."""

import hashlib
from dataclasses import replace
from functools import partial
from typing import Final

from tqdm import tqdm

from sclip_plugin.shards.conversion.index import Located, SampleIndex
from sclip_plugin.shards.engines.engine import Engine
from sclip_plugin.shards.images import Transform, Verdict, fingerprint_of, inspect
from sclip_plugin.shards.locator import StoredImage
from sclip_plugin.shards.neighbours import open_images
from sclip_plugin.shards.sample import Tally
from sclip_plugin.shards.shard_images import trained_digests
from sclip_plugin.storage.location import Location

TWICE = "image with the same bytes as another"
LISTED: Final = 1000  # groups of equal images in the manifest
NAMED: Final = 20  # names in such a group


def examine(index: SampleIndex, transform: Transform, check: bool, engine: Engine, tally: Tally) -> None:
    """Store a verdict on each image that has none; counts in `tally` the images that cannot be used.

    Args:
        index: filled from the sources.
        transform: what will be done to the images.
        check: whether images are decoded, and not only their headers read.
        engine: does the work. Headers of files that the system holds in memory are read as fast by one thread as by
            many; from the disk, four threads take about half the time of one.
        tally: of the conversion.
    """
    look = partial(_verdicts, transform, check)
    with tqdm(total=index.uninspected_count(), desc="inspecting", unit="image", disable=None) as bar:
        for found in engine.map(look, index.uninspected(engine.images)):
            index.judge(found)
            bar.update(len(found))
    tally.skipped_images.update(index.faults())


def _verdicts(transform: Transform, check: bool, some: Located) -> list[tuple[int, Verdict]]:
    return [(number, _verdict(image, transform, check)) for number, image in open_images(some)]


def _verdict(image: StoredImage, transform: Transform, check: bool) -> Verdict:
    verdict = inspect(image, transform, check)
    return replace(verdict, recode="pixel array") if image.locator.form == "pixels" and not verdict.fault else verdict


def fingerprint(index: SampleIndex, engine: Engine) -> None:
    """Store the fingerprints of images that are known to be good and were not looked at."""
    with tqdm(total=index.unprinted_count(), desc="fingerprints", unit="image", disable=None) as bar:
        for prints in engine.map(_fingerprints, index.unprinted(engine.images)):
            index.keep_fingerprints(prints)
            bar.update(len(prints))


def _fingerprints(some: Located) -> list[tuple[int, bytes]]:
    found = []
    for number, image in open_images(some):
        with image.open() as file:
            found.append((number, fingerprint_of(file, image.size)))
    return found


def find_equal(index: SampleIndex, engine: Engine, tally: Tally) -> list[list[str]]:
    """Find images with the same bytes; only those of equal size and fingerprint are read. Counts them in `tally`.

    Returns:
        Source names of equal images, in groups: the first `LISTED` groups, the first `NAMED` names of each.
    """
    index.mark_maybe_equal()
    for hashes in engine.map(_hashes, index.maybe_equal(engine.images)):
        index.keep_contents(hashes)
    tally.notes[TWICE] += index.copies()
    return sorted(index.equal_names(LISTED, NAMED))


def _hashes(some: Located) -> list[tuple[int, bytes]]:
    return [(number, hashlib.sha256(image.read()).digest()) for number, image in open_images(some)]


def leave_out_trained(index: SampleIndex, part: str, root: Location, engine: Engine) -> int:
    """Leave out the images of a part whose bytes are in the training set at `root`, if there is one; says how many."""
    trained = {found for _, found in trained_digests(root, index.sizes(part), engine)}
    if not trained:
        return 0
    hashes = engine.map(_hashes, index.of_part(part, engine.images))
    return index.leave_out([number for some in hashes for number, found in some if found in trained])
