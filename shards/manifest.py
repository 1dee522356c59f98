"""What `manifest.json` holds, as types: where a set comes from, what decided its bytes, and counts that add up."""

from collections.abc import Mapping
from typing import TypedDict


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
