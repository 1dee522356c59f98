"""Shards to disk: each appears under its name only when whole, and a killed run continues where it stopped.

Beside each finished shard a small statistics file stands in `.progress/`, written after it: the mark that it need not
be written again. Bytes depend on the samples alone, not on the number of workers or on interruptions.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tqdm import tqdm

from sclip_plugin.decoding import ImageFault
from sclip_plugin.errors import DataError
from sclip_plugin.shards import layout
from sclip_plugin.shards.conversion.index import SampleIndex
from sclip_plugin.shards.images import Transform, encode
from sclip_plugin.shards.sample import Sample
from sclip_plugin.shards.tar_writer import END, member
from sclip_plugin.shards.threads import in_threads

PROGRESS = ".progress"


@dataclass(frozen=True)
class Job:
    """One shard: its path below the root, its kind (layout.members), and which samples of that part it holds."""

    name: str
    kind: str
    first: int
    stop: int


@dataclass
class Plan:
    """A part of the output that stands or falls together: its root, shards, where their samples are described, classes,
    and the digest of all that decides their bytes."""

    root: Path
    jobs: list[Job]
    index: SampleIndex
    transform: Transform
    options: dict
    classes: list[str] = field(default_factory=list)

    def samples(self, job: Job) -> Iterator[Sample]:
        """The samples of a shard, in order."""
        return self.index.placed(job.kind, job.first, job.stop)

    @cached_property
    def digest(self) -> str:
        seen = hashlib.sha256(json.dumps([self.options, self.classes], sort_keys=True).encode())
        for job in self.jobs:
            seen.update(f"\0{job.name}\0{job.kind}".encode())
            for one in self.samples(job):
                row = [one.key, one.source, one.captions, one.label, one.group, one.suffix, one.recode]
                seen.update(json.dumps([*row, one.size, one.fingerprint.hex()]).encode())
        return seen.hexdigest()


class _HashingFile:
    """A file that remembers the SHA-256 and the length of what was written to it."""

    def __init__(self, file):
        self.file, self.hash, self.length = file, hashlib.sha256(), 0

    def write(self, pieces: list[bytes]) -> None:
        data = b"".join(pieces)
        self.hash.update(data)
        self.length += len(data)
        self.file.write(data)


def write_shard(plan: Plan, job: Job, progress=None) -> dict:
    """Write one shard aside, sync, rename; returns its statistics. `progress(n)` is told of each sample.

    Raises:
        DataError: an image that could be read a moment ago no longer can.
    """
    path = plan.root / job.name
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    classes = {name: index for index, name in enumerate(plan.classes)}
    counts = {"samples": 0, "captions": 0, "recoded": Counter(), "skipped": Counter(), "skipped_captions": 0}
    with open(aside, "wb") as file:
        sink = _HashingFile(file)
        for sample in plan.samples(job):
            sink.write(_members(sample, job.kind, plan.transform, classes, counts))
            if progress:
                progress(1)
        sink.write([END])
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
    _sync_folder(path.parent)
    return {**counts, "bytes": sink.length, "sha256": sink.hash.hexdigest()}


def _members(sample: Sample, kind: str, transform: Transform, classes: dict, counts: dict) -> list[bytes]:
    """The sample as pieces of a tar; nothing where its image does not decode. Counts it."""
    try:
        data = sample.image.read()
        if sample.recode:
            data = encode(data, sample.suffix, transform)
            counts["recoded"][sample.recode] += 1
    except ImageFault as fault:
        counts["skipped"][str(fault)] += 1
        counts["skipped_captions"] += len(sample.captions)
        return []
    except OSError as error:
        raise DataError(f"{sample.source}: {error.strerror or error}") from None
    pieces = member(f"{sample.key}.{sample.suffix}", data)
    for suffix, content in layout.members(sample, kind, classes):
        pieces += member(f"{sample.key}.{suffix}", content)
    counts["samples"] += 1
    counts["captions"] += len(sample.captions)
    return pieces


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_all(plan: Plan, workers: int) -> dict[str, dict]:
    """{shard name: statistics} of every shard of the plan; those that a killed run finished are kept."""
    progress = plan.root / PROGRESS
    bar = tqdm(total=sum(job.stop - job.first for job in plan.jobs), desc="writing", unit="image", disable=None)

    def one(job: Job) -> dict:
        mark = progress / (job.name.replace("/", "-") + ".json")
        done = _finished(plan.root / job.name, mark)
        if done is None:
            done = write_shard(plan, job, bar.update)
            layout.write_json(mark, done)
        else:
            bar.update(job.stop - job.first)
        return done

    with bar:
        # one more than asked for: at a shard's end each waits for the disk
        results = list(in_threads(one, plan.jobs, workers + 1))
    return {job.name: result for job, result in zip(plan.jobs, results)}


def _finished(shard: Path, mark: Path) -> dict | None:
    try:
        done = json.loads(mark.read_text())
        return done if shard.stat().st_size == done["bytes"] else None
    except (OSError, ValueError, KeyError):
        return None


def prepare(plan: Plan, folders: list[str], overwrite: bool) -> dict | None:
    """Make the root ready. Returns the manifest where it already holds exactly this; else None.

    Raises:
        DataError: the folders hold something else, and `overwrite` was not asked for or it is not ours.
    """
    digest, state = plan.digest, plan.root / PROGRESS / "plan.json"
    manifest = _read(plan.root / layout.MANIFEST)
    held = manifest or _read(state)
    occupied = [name for name in folders if (plan.root / name).is_dir() and any((plan.root / name).iterdir())]
    if held.get("plan") == digest and not overwrite:
        if manifest and all((plan.root / job.name).is_file() for job in plan.jobs):
            _forget_progress(plan.root)
            return manifest
    elif held or occupied:
        where = plan.root / occupied[0] if occupied else plan.root
        if not held.get("plan"):
            raise DataError(f"--out: {where} holds something that sclip convert did not make; choose another folder")
        if not overwrite:
            raise DataError(f"--out: {where} was made with other options or input; give another folder or --overwrite")
        _clear(plan.root, folders)
    for name in folders:
        for left in (plan.root / name).glob(".*.tmp"):
            left.unlink()
    layout.write_json(state, {"plan": digest})
    return None


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def _clear(root: Path, folders: list[str]) -> None:
    """Remove what an earlier conversion wrote, and nothing else."""
    (root / layout.MANIFEST).unlink(missing_ok=True)
    for name in folders:
        for old in (*(root / name).glob("*.tar"), root / name / layout.SIZES, root / name / "nshards.txt"):
            old.unlink(missing_ok=True)
    _forget_progress(root)


def _forget_progress(root: Path) -> None:
    for pattern in ("*.json", ".*.tmp"):
        for mark in (root / PROGRESS).glob(pattern):
            mark.unlink()


def finish(plan: Plan, shards: dict[str, dict], counts: dict, about: dict) -> dict:
    """Write each folder's `sizes.json` and, last, `manifest.json`, which begins with `about`; returns the manifest."""
    for folder in sorted({os.path.dirname(name) for name in shards}):
        table = {
            os.path.basename(name): done["samples"] for name, done in shards.items() if os.path.dirname(name) == folder
        }
        layout.write_json(plan.root / folder / layout.SIZES, table)
    manifest = {
        **about,
        "options": plan.options,
        "counts": counts,
        "shards": {name: {key: done[key] for key in ("samples", "bytes", "sha256")} for name, done in shards.items()},
        "plan": plan.digest,
    }
    layout.write_json(plan.root / layout.MANIFEST, manifest)
    _forget_progress(plan.root)
    return manifest
