"""Shards to disk: each appears under its name only when it is whole, and a killed run continues where it stopped.

When a shard is finished, a small file with its statistics is written to `.progress/`: it says that the shard need not
be written again. The bytes depend on the samples alone, not on the number of workers or on interruptions.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from tqdm import tqdm

from sclip_plugin.decoding import ImageFault
from sclip_plugin.errors import DataError
from sclip_plugin.shards import layout
from sclip_plugin.shards.conversion.plan import Job, ShardPlan
from sclip_plugin.shards.conversion.split import SAME_BYTES
from sclip_plugin.shards.images import Transform, encode
from sclip_plugin.shards.leftovers import remove_leftovers
from sclip_plugin.shards.manifest import (
    Counts,
    Manifest,
    Origin,
    ShardRecord,
    ShardStatistics,
    is_manifest,
    is_shard_statistics,
    read_json,
)
from sclip_plugin.shards.readers.files import file_hash
from sclip_plugin.shards.sample import Sample
from sclip_plugin.shards.shard_images import in_training
from sclip_plugin.shards.tar_writer import END, member
from sclip_plugin.shards.threads import in_threads
from sclip_plugin.storage.location import Location, RemotePath, location, tars
from sclip_plugin.storage.outputs import whole_file

PROGRESS: Final = ".progress"
BLOCK: Final = 1 << 18  # bytes that are hashed and written at once (ours): larger ones leave the processor's cache
PLAN: Final = "plan.json"  # in it: the digest of the plan that is being written


class _HashingFile:
    """A file that gathers what is written to it in blocks, and knows the SHA-256 and the length of those written."""

    def __init__(self, file: BinaryIO):
        self.file, self.hash, self.length = file, hashlib.sha256(), 0
        self._waiting, self._waiting_length = list[bytes](), 0

    def write(self, pieces: list[bytes]) -> None:
        self._waiting += pieces
        self._waiting_length += sum(map(len, pieces))
        if self._waiting_length >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Hash and write what was gathered."""
        block = b"".join(self._waiting)
        self.hash.update(block)
        self.length += len(block)
        self.file.write(block)
        self._waiting, self._waiting_length = [], 0


class _ShardCounts:
    """What was written to a shard so far, and what was not."""

    def __init__(self) -> None:
        self.samples = self.captions = self.skipped_captions = 0
        self.recoded: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()

    def skip(self, reason: str, sample: Sample) -> None:
        """Count a sample that is left out."""
        self.skipped[reason] += 1
        self.skipped_captions += len(sample.captions)

    def statistics(self, sink: _HashingFile) -> ShardStatistics:
        """The statistics of the shard, which is complete."""
        return {
            "samples": self.samples,
            "captions": self.captions,
            "recoded": dict(self.recoded),
            "skipped": dict(self.skipped),
            "skipped_captions": self.skipped_captions,
            "bytes": sink.length,
            "sha256": sink.hash.hexdigest(),
        }


def write_shard(
    plan: ShardPlan,
    job: Job,
    progress: Callable[[int], object] | None = None,
    trained: Collection[str] = (),
) -> ShardStatistics:
    """Write one shard under another name, sync it to the disk, and rename it.

    Args:
        plan: the shard plan.
        job: the shard.
        progress: is called with 1 after each sample.
        trained: keys of samples that are left out and counted, because their images are in training too.

    Raises:
        DataError: an image that could be read a moment ago no longer can, or the shard cannot be written (a full disk,
            say); nothing of it is left then.
    """
    path = plan.root / job.name
    with whole_file(path) as file:
        statistics = _write(plan, job, file, progress, trained)
    if isinstance(path, Path):
        _sync_folder(path.parent)
    return statistics


def _write(
    plan: ShardPlan,
    job: Job,
    file: BinaryIO,
    progress: Callable[[int], object] | None,
    trained: Collection[str],
) -> ShardStatistics:
    """Write the samples of a shard and the end of its tar."""
    classes = {name: index for index, name in enumerate(plan.classes)}
    counts, sink = _ShardCounts(), _HashingFile(file)
    for sample in plan.samples(job):
        if sample.key in trained:
            counts.skip(SAME_BYTES, sample)
        else:
            sink.write(_members(sample, job.kind, plan.transform, classes, counts))
        if progress:
            progress(1)
    sink.write([END])
    sink.flush()
    return counts.statistics(sink)


def _members(
    sample: Sample, kind: str, transform: Transform, classes: dict[str, int], counts: _ShardCounts
) -> list[bytes]:
    """The sample as pieces of a tar, none where its image does not decode; counts it."""
    try:
        data = sample.image.read()
        if sample.recode:
            data = encode(data, sample.suffix, transform)
            counts.recoded[sample.recode] += 1
    except ImageFault as fault:
        counts.skip(str(fault), sample)
        return []
    except OSError as error:
        raise DataError(f"{sample.source}: {error.strerror or error}") from None
    pieces = member(f"{sample.key}.{sample.suffix}", data)
    for suffix, content in layout.members(sample, kind, classes):
        pieces += member(f"{sample.key}.{suffix}", content)
    counts.samples += 1
    counts.captions += len(sample.captions)
    return pieces


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_all(plan: ShardPlan, workers: int) -> dict[str, ShardStatistics]:
    """Write every shard of the plan that a killed run did not finish; returns {shard name: statistics} of all."""
    bar = tqdm(total=sum(job.stop - job.first for job in plan.jobs), desc="writing", unit="image", disable=None)

    marks = {path.name for path in (plan.root / PROGRESS).iterdir()}

    def one(job: Job) -> ShardStatistics:
        mark = _mark(plan, job)
        done = _finished(plan.root / job.name, mark) if mark.name in marks else None
        if done is None:
            done = write_shard(plan, job, bar.update)
            layout.write_json(mark, done)
        else:
            bar.update(job.stop - job.first)
        return done

    with bar:
        # one thread more than asked for, since each waits for the disk at the end of its shard
        results = list(in_threads(one, plan.jobs, workers + 1))
    return {job.name: result for job, result in zip(plan.jobs, results)}


def leave_out_trained(plan: ShardPlan, kind: str, training: Location) -> dict[str, ShardStatistics]:
    """Write the shards of a held-out part again that hold images of the training set, without these images.

    The split leaves out images whose files are equal. What is re-encoded may become equal only then: one picture as a
    TIFF and as a BMP, say.

    Args:
        plan: the shard plan, of which every shard is written.
        kind: the part.
        training: root of the training set.

    Returns:
        {shard name: statistics} of the shards that were written again.
    """
    trained = defaultdict[str, set[str]](set)
    jobs = {str(plan.root / job.name): job for job in plan.jobs if job.kind == kind}
    for shard, key, _ in in_training(map(location, jobs), training):
        trained[str(shard)].add(key)
    written = {}
    for name, keys in sorted(trained.items()):
        job = jobs[name]
        written[job.name] = write_shard(plan, job, trained=keys)
        layout.write_json(_mark(plan, job), written[job.name])
    return written


def _mark(plan: ShardPlan, job: Job) -> Location:
    """The file that says that a shard is finished."""
    return plan.root / PROGRESS / (job.name.replace("/", "-") + ".json")


def _finished(shard: Location, mark: Location) -> ShardStatistics | None:
    """The statistics of a shard that is complete, None of another. One in a store is read, and its hash compared."""
    done = read_json(mark)
    try:
        if not is_shard_statistics(done) or shard.stat().st_size != done["bytes"]:
            return None
        return done if isinstance(shard, Path) or file_hash(str(shard)) == done["sha256"] else None
    except OSError:
        return None


def prepare(plan: ShardPlan, folders: list[str], overwrite: bool) -> Manifest | None:
    """Make the plan's root ready for its shards.

    Args:
        plan: the shard plan.
        folders: folders below the root that may hold shards of a set of this kind.
        overwrite: whether what another plan wrote there is replaced.

    Returns:
        The manifest where the root already holds all shards of this plan, else None.

    Raises:
        DataError: the folders hold something else and `overwrite` is False, or `sclip convert` did not make it.
    """
    _remove_leftovers(plan, folders)
    described, state = plan.root / layout.MANIFEST, plan.root / PROGRESS / PLAN
    manifest = read_json(described)
    made_by = _digest(manifest) or _digest(read_json(state))
    occupied = [name for name in folders if (plan.root / name).is_dir() and any((plan.root / name).iterdir())]
    if made_by == plan.digest and not overwrite:
        if is_manifest(manifest) and _all_there(plan, manifest):
            _forget_progress(plan.root)
            return manifest  # it is complete: its digest is this plan's, and it is written last
    elif occupied or made_by is not None or described.exists():
        where = plan.root / occupied[0] if occupied else plan.root
        if made_by is None and described.exists():
            raise DataError(f"--out: {described}: not a manifest of sclip convert, or damaged; choose another folder")
        if made_by is None:
            raise DataError(f"--out: {where} holds something that sclip convert did not make; choose another folder")
        if not overwrite:
            raise DataError(f"--out: {where} was made with other options or input; give another folder or --overwrite")
        _clear(plan.root, folders)
    layout.write_json(state, {"plan": plan.digest})
    return None


def _all_there(plan: ShardPlan, manifest: Manifest) -> bool:
    """Whether every shard of a finished plan is in its place; in a store also whether it has the manifest's length."""
    if isinstance(plan.root, Path):
        return all((plan.root / job.name).is_file() for job in plan.jobs)
    there: dict[str, int | None] = {}
    for folder in {os.path.dirname(job.name) for job in plan.jobs}:
        found = (plan.root / folder).entries()
        there |= {f"{folder}/{one.name}": one.size for one in found}
    listed = manifest["shards"]
    return all(job.name in listed and there.get(job.name) == listed[job.name]["bytes"] for job in plan.jobs)


def _digest(found: object) -> str | None:
    """The digest of the plan that a manifest, or `.progress/plan.json`, names; None where it names none."""
    digest = found.get("plan") if isinstance(found, dict) else None
    return digest if isinstance(digest, str) else None


def _remove_leftovers(plan: ShardPlan, folders: list[str]) -> None:
    """Remove what killed runs wrote aside and did not rename; in a store there is no such thing."""
    if isinstance(plan.root, RemotePath):
        return
    for folder in {
        plan.root,
        *(plan.root / name for name in folders),
        *((plan.root / name).parent for name in folders),
    }:
        remove_leftovers(folder, (*layout.FILES, "*.tar"), alone=True)


def _clear(root: Location, folders: list[str]) -> None:
    """Remove what an earlier conversion wrote, and nothing but that."""
    (root / layout.MANIFEST).unlink(missing_ok=True)
    for name in folders:
        for old in (*tars(root / name), root / name / layout.SIZES, root / name / "nshards.txt"):
            old.unlink(missing_ok=True)
    _forget_progress(root)


def unfinished(root: Location) -> bool:
    """Whether a conversion into a folder has begun and not ended."""
    scratch = root / PROGRESS
    return scratch.exists() if isinstance(scratch, Path) else any(scratch.iterdir())  # a store may keep empty folders


def _forget_progress(root: Location) -> None:
    scratch = root / PROGRESS
    for mark in scratch.glob("*.json"):
        mark.unlink(missing_ok=True)
    if isinstance(scratch, Path):
        remove_leftovers(scratch, ("*.json",), alone=True)


def finish(plan: ShardPlan, shards: Mapping[str, ShardStatistics], counts: Counts, about: Origin) -> Manifest:
    """Write `sizes.json` of each folder and, last, `manifest.json`.

    Args:
        plan: the shard plan, of which every shard is written.
        shards: {shard name: statistics}.
        counts: the counts of the whole conversion.
        about: where the set comes from; the manifest begins with it.

    Returns:
        The manifest.
    """
    for folder in sorted({os.path.dirname(name) for name in shards}):
        table = {
            os.path.basename(name): done["samples"] for name, done in shards.items() if os.path.dirname(name) == folder
        }
        layout.write_json(plan.root / folder / layout.SIZES, table)
    records: dict[str, ShardRecord] = {
        name: {"samples": done["samples"], "bytes": done["bytes"], "sha256": done["sha256"]}
        for name, done in shards.items()
    }
    manifest: Manifest = {
        **about,
        "options": dict(plan.options),
        "counts": counts,
        "shards": records,
        "plan": plan.digest,
    }
    layout.write_json(plan.root / layout.MANIFEST, manifest)
    _forget_progress(plan.root)
    return manifest
