"""What `manifest.json` holds, as types: where a set comes from, what decided its bytes, and counts that add up.

The file may have been damaged or changed by hand, so that it is checked where it is read (`read_manifest`).
"""

import json
from collections.abc import Mapping
from typing import Any, TypedDict, TypeGuard

from sclip_plugin.errors import DataError
from sclip_plugin.storage.location import Location


class ItemCounts(TypedDict):
    """Counts of images or of captions: `read` is the sum of `written` and of `skipped`."""

    read: int
    written: dict[str, int]  # by part
    skipped: dict[str, int]  # by reason


class Counts(TypedDict):
    """The counts of a conversion."""

    images: ItemCounts
    captions: ItemCounts
    recoded: dict[str, int]  # images re-encoded, by reason
    notes: dict[str, int]  # what the user should see although nothing was left out for it


class ShardRecord(TypedDict):
    """What the manifest says of one shard."""

    samples: int
    bytes: int
    sha256: str


class ShardStatistics(ShardRecord):
    """What is known of a finished shard; its file in `.progress/` says that the shard need not be written again."""

    captions: int
    recoded: dict[str, int]  # images re-encoded, by reason
    skipped: dict[str, int]  # images that did not decode, by reason
    skipped_captions: int


class Origin(TypedDict, total=False):
    """Where a set comes from.

    `made_by` stands in the manifests of `sclip split` only; `source` is what the readers say of their sources.
    """

    made_by: str
    source: list[Mapping[str, object]]
    equal_images: list[list[str]]  # source names of images with the same bytes


class Manifest(Origin):
    """The whole manifest. `plan` is the digest of the shard plan, which decides every byte."""

    options: dict[str, object]
    counts: Counts
    shards: dict[str, ShardRecord]
    plan: str


def read_manifest(path: Location) -> Manifest:
    """The manifest in a file.

    Raises:
        DataError: the file cannot be read, or does not hold what `sclip convert` writes.
    """
    found = read_json(path)
    if not is_manifest(found):
        raise DataError(f"{path}: not a manifest of sclip convert, or damaged")
    return found


def read_json(path: Location) -> Any:
    """What a JSON file holds; None where there is no such file, or no JSON in it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def is_manifest(found: Any) -> TypeGuard[Manifest]:
    """Whether a JSON value has the parts of a manifest, each of the type that `sclip convert` writes."""
    try:
        counts, shards = found["counts"], found["shards"].values()
        items = [counts[what] for what in ("images", "captions")]
        tables = [table for one in items for table in (one["written"], one["skipped"])]
        numbers = [one["read"] for one in items]
        numbers += [n for table in (*tables, counts["recoded"], counts["notes"]) for n in table.values()]
        numbers += [shard[name] for shard in shards for name in ("samples", "bytes")]
        texts = [found["plan"], *(shard["sha256"] for shard in shards)]
        texts += [name for group in found.get("equal_images", []) for name in group]
        objects = [found["options"], *found["source"]]
    except (KeyError, TypeError, AttributeError):
        return False
    return (
        all(type(number) is int for number in numbers)
        and all(isinstance(text, str) for text in texts)
        and all(isinstance(one, dict) for one in objects)
    )


def is_shard_statistics(found: Any) -> TypeGuard[ShardStatistics]:
    """Whether a JSON value has what `ShardStatistics` has, of the same types."""
    try:
        numbers = [found[name] for name in ("samples", "bytes", "captions", "skipped_captions")]
        numbers += [number for name in ("recoded", "skipped") for number in found[name].values()]
        return all(type(number) is int for number in numbers) and isinstance(found["sha256"], str)
    except (KeyError, TypeError, AttributeError):
        return False
