"""The files beside the shards (`sizes.json`, `nshards.txt`, class names, manifest) against what the shards hold."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from sclip_plugin.shards import layout
from sclip_plugin.shards.conversion.writer import PROGRESS, unfinished
from sclip_plugin.shards.engines.engine import Engine
from sclip_plugin.shards.manifest import Manifest, ShardRecord
from sclip_plugin.shards.verification.faults import Fault
from sclip_plugin.shards.verification.findings import Findings
from sclip_plugin.shards.verification.leaks import leak_faults
from sclip_plugin.shards.verification.parts import Part, read_or_empty
from sclip_plugin.storage.location import Location


def folder_faults(root: Location, findings: Mapping[Part, Findings], engine: Engine) -> Iterator[Fault]:
    """A conversion that did not end, files that do not say what the shards hold, evaluation images in training."""
    if unfinished(root):
        yield Fault("unfinished: run the same sclip convert again", str(root / PROGRESS))
    for part, found in findings.items():
        sizes = part.folder / layout.SIZES
        counted = {name.rpartition("/")[2]: one["samples"] for name, one in found.shards.items()}
        if sizes.exists() and _read_json(sizes) != counted:
            yield Fault("sizes.json does not say what the shards hold", str(sizes))
        if part.kind in (layout.VAL, layout.CLASSES):
            yield from _evaluation_faults(part)
    yield from leak_faults(root, engine)


def _evaluation_faults(part: Part) -> Iterator[Fault]:
    """What CLIP_benchmark's layout asks for beside the shards."""
    expected = {layout.shard_name(part.kind, number) for number in range(len(part.shards))}
    written = read_or_empty(part.folder / "nshards.txt").strip()
    if written != str(len(part.shards)) or {shard.name for shard in part.shards} != expected:
        yield Fault("nshards.txt and 0.tar, 1.tar, … do not agree", str(part.folder))
    if part.kind == layout.CLASSES and not part.classes:
        yield Fault("classnames.txt is missing or empty", str(part.folder.parent))
    if not all(name.strip() for name in part.classes):
        yield Fault("classnames.txt has an empty line", str(part.folder.parent / layout.CLASS_NAMES))
    for name, times in Counter(part.classes).items():
        if times > 1:
            yield Fault("classnames.txt has a line twice", f"{part.folder.parent / layout.CLASS_NAMES}: {name}")


def manifest_faults(root: Location, findings: Mapping[Part, Findings]) -> Iterator[Fault]:
    """Differences between `manifest.json` and the shards, and counts in it that do not add up."""
    path = root / layout.MANIFEST
    if not path.exists():
        return
    manifest = _read_json(path)
    if not _is_manifest(manifest):
        yield Fault("manifest cannot be read", str(path))
        return
    yield from _shard_faults(manifest["shards"], findings)
    for what, counts in (("images", manifest["counts"]["images"]), ("captions", manifest["counts"]["captions"])):
        if counts["read"] != sum(counts["written"].values()) + sum(counts["skipped"].values()):
            yield Fault("counts in the manifest do not add up", what)
    written = manifest["counts"]["images"]["written"]
    counted = {part.kind: found.samples for part, found in findings.items()}
    if written != counted:
        yield Fault("the manifest counts other images than there are", f"{written}, found {counted}")


def _shard_faults(listed: Mapping[str, ShardRecord], findings: Mapping[Part, Findings]) -> Iterator[Fault]:
    there = {name: one for found in findings.values() for name, one in found.shards.items()}
    for name in sorted(listed.keys() | there.keys()):
        if name not in there:
            yield Fault("shard of the manifest is missing", name)
        elif name not in listed:
            yield Fault("shard is not in the manifest", name)
        elif differing := [field for field, value in there[name].items() if listed[name].get(field) != value]:
            yield Fault(f"shard differs from the manifest ({', '.join(differing)})", name)


def _is_manifest(found: Any) -> TypeGuard[Manifest]:
    """Whether the parts of the manifest that are compared have the types that `sclip convert` writes."""
    try:
        shards = all(isinstance(one, dict) for one in found["shards"].values())
        counts = [found["counts"][what] for what in ("images", "captions")]
        tables = [table for one in counts for table in (one["written"], one["skipped"])]
        numbers = [one["read"] for one in counts] + [number for table in tables for number in table.values()]
    except (KeyError, TypeError, AttributeError):
        return False
    return shards and all(isinstance(number, int) for number in numbers)


def _read_json(path: Location) -> Any:
    """What a JSON file holds; None where it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
