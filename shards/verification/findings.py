"""What was found in the shards of a part, summed up."""

from collections import Counter
from dataclasses import dataclass, field

from sclip_plugin.shards.contact_sheet import Thumbnail
from sclip_plugin.shards.manifest import ShardRecord
from sclip_plugin.shards.verification.shard_checks import ShardFindings


@dataclass
class Findings:
    """The sum over the shards of a part.

    Attributes:
        samples: how many the shards hold together.
        captions: of those samples.
        bytes: length of the shards together.
        notes: {what the user should see that is no fault: how often}.
        shards: {name below the root: the shard, as the manifest would list it}.
        thumbnails: of the first samples of each shard.
    """

    samples: int = 0
    captions: int = 0
    bytes: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    shards: dict[str, ShardRecord] = field(default_factory=dict)
    thumbnails: list[Thumbnail] = field(default_factory=list)

    def add(self, name: str, shard: ShardFindings) -> None:
        """Count a shard in, under its name below the root."""
        self.samples += shard.samples
        self.captions += shard.captions
        self.bytes += shard.bytes
        self.notes += shard.notes
        self.shards[name] = ShardRecord(samples=shard.samples, bytes=shard.bytes, sha256=shard.sha256)
        self.thumbnails += shard.thumbnails
