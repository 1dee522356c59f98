"""All shards of a plan, and the files beside them; a killed run continues where it stopped.

The bytes depend on the samples alone, not on the engine, the number of its workers, or interruptions.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from tqdm import tqdm

from sclip_plugin.errors import DataError
from sclip_plugin.shards import layout
from sclip_plugin.shards.conversion.plan import Job, ShardPlan
from sclip_plugin.shards.conversion.shard_task import ShardTask, do
from sclip_plugin.shards.engines.engine import Engine
from sclip_plugin.shards.leftovers import remove_leftovers
from sclip_plugin.shards.manifest import Counts, Manifest, Origin, ShardRecord, ShardStatistics, is_manifest, read_json
from sclip_plugin.shards.shard_images import in_training
from sclip_plugin.storage.lease import check
from sclip_plugin.storage.location import Location, RemotePath, location, tars

PROGRESS: Final = ".progress"
PLAN: Final = "plan.json"  # in it: the digest of the plan that is being written


def write_all(plan: ShardPlan, engine: Engine) -> dict[str, ShardStatistics]:
    """Write every shard of the plan that a killed run did not finish; returns {shard name: statistics} of all."""
    marks = {path.name for path in (plan.root / PROGRESS).iterdir()}
    results: dict[str, ShardStatistics] = {}
    total = sum(job.stop - job.first for job in plan.jobs)
    with tqdm(total=total, desc="writing", unit="image", disable=None) as bar:
        tasks = _tasks(plan, plan.jobs, engine)
        tasks = (replace(one, begun=one.mark.name in marks) for one in tasks)
        if not engine.remote:
            tasks = (replace(one, progress=bar.update) for one in tasks)
        for job, done in zip(plan.jobs, engine.writers.map(do, tasks)):
            results[job.name] = done
            if engine.remote:
                check(str(plan.root / job.name))  # the machines that write do not know of this one's lease
                bar.update(job.stop - job.first)
    return results


def _tasks(plan: ShardPlan, jobs: Iterable[Job], engine: Engine) -> Iterator[ShardTask]:
    """The shards as work; for other machines with their samples, which only this one can ask of the index."""
    classes = {name: index for index, name in enumerate(plan.classes)}
    for job in jobs:
        mark = plan.root / PROGRESS / (job.name.replace("/", "-") + ".json")
        samples = list(plan.samples(job)) if engine.remote else plan.samples(job)
        yield ShardTask(plan.root / job.name, mark, job, samples, plan.transform, classes)


def leave_out_trained(plan: ShardPlan, kind: str, training: Location, engine: Engine) -> dict[str, ShardStatistics]:
    """Write the shards of a held-out part again that hold images of the training set, without these images.

    The split leaves out images whose files are equal. What is re-encoded may become equal only then: one picture as a
    TIFF and as a BMP, say.

    Args:
        plan: the shard plan, of which every shard is written.
        kind: the part.
        training: root of the training set.
        engine: does the work.

    Returns:
        {shard name: statistics} of the shards that were written again.
    """
    trained = defaultdict[str, set[str]](set)
    jobs = {str(plan.root / job.name): job for job in plan.jobs if job.kind == kind}
    for shard, key, _ in in_training(map(location, jobs), training, engine):
        trained[str(shard)].add(key)
    again = [jobs[name] for name in sorted(trained)]
    tasks = (replace(one, trained=frozenset(trained[str(one.path)])) for one in _tasks(plan, again, engine))
    return {job.name: done for job, done in zip(again, engine.writers.map(do, tasks))}


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
    remove_aside(plan, folders)
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


def remove_aside(plan: ShardPlan, folders: list[str]) -> None:
    """Remove what killed runs, and lost machines, wrote aside and did not rename; in a store there is no such thing."""
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
