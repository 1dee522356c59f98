"""The folders that `sclip convert` wrote: paired/, unpaired/ and val/. `sclip split` reads them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sclip_plugin.errors import DataError
from sclip_plugin.shards import layout
from sclip_plugin.shards.readers.base import Description
from sclip_plugin.shards.readers.jsonfile import read_object
from sclip_plugin.shards.readers.parts import Parted
from sclip_plugin.shards.readers.webdataset import tar_samples
from sclip_plugin.shards.sample import Sample, Tally
from sclip_plugin.shards.seen_keys import SeenKeys
from sclip_plugin.storage import places
from sclip_plugin.storage.location import location


@dataclass(frozen=True)
class _Shard:
    """One of the shards.

    Attributes:
        path: of the shard.
        split: that its samples are in.
    """

    path: str
    split: str

    def samples(self, tally: Tally) -> Iterator[Sample]:
        """The samples, in order."""
        for found in tar_samples(self.path, tally):
            said = found.about.get("source")
            source = said if isinstance(said, str) else ""
            usable = found.usable(tally, "" if source else "no source in its .json")
            if usable is None:
                continue
            fields, suffix, image = usable
            yield Sample(
                source,
                image,
                fields.captions,
                label=fields.label,
                group=fields.group,
                split=self.split,
                where=f"{self.path}: {found.key}",
                key=found.key,
                suffix=suffix,
            )


class ShardsReader(Parted):
    """Reads samples with the key, source, label, group and image that they have in the shards; no image is looked at.

    The samples of val come as held out, the others as train.

    Attributes:
        manifest: what `manifest.json` holds.

    Raises:
        DataError: there is no manifest, or there are no shards.
    """

    def __init__(self, root: str) -> None:
        self.root = places.real(root)
        self.manifest = _manifest(root)
        self.files = {kind: _tars(os.path.join(self.root, layout.shard_folder(kind))) for kind in layout.TRAINING}
        if not any(self.files.values()):
            raise DataError(f"{root}: no shards in paired/, unpaired/ or val/")
        self.tally = Tally()

    def samples(self) -> Iterator[Sample]:
        """The samples of paired/, then of unpaired/, then of val/. Damaged ones are counted.

        Raises:
            DataError: two samples have the same key; the message names both places.
        """
        parts = [
            _Shard(path, "val" if kind == layout.VAL else "train")
            for kind, files in self.files.items()
            for path in files
        ]
        with SeenKeys() as seen:
            for sample in self.read(parts, self.tally):
                path = sample.where.removesuffix(f": {sample.key}")
                before = seen.add(sample.key, location(path))
                if before is not None:
                    raise DataError(
                        f"two samples of the same key: {sample.where}, before in {before}; see `sclip verify`"
                    )
                yield sample

    def describe(self) -> Description:
        """The folder's name, and the digest of its shard plan."""
        return {"format": "shards", "name": os.path.basename(self.root), "plan": self.manifest.get("plan")}


def _manifest(root: str) -> dict[str, Any]:
    """What `sclip convert` or `sclip split` wrote down, as far as it is used.

    Raises:
        DataError: it is missing or damaged.
    """
    path = os.path.join(root, layout.MANIFEST)
    if not places.is_file(path):
        raise DataError(f"{root}: no {layout.MANIFEST}: not made by sclip convert, or not finished")
    found = read_object(path)
    if not isinstance(found.get("plan"), str):
        raise DataError(f"{path}: no plan in it: not made by sclip convert")
    skipped: object = found
    for name in ("counts", "captions", "skipped"):
        skipped = skipped.get(name, {}) if isinstance(skipped, dict) else None
    if not isinstance(skipped, dict) or not all(isinstance(number, int) for number in skipped.values()):
        raise DataError(f"{path}: its counts of captions are damaged")
    return found


def _tars(folder: str) -> list[str]:
    return places.listed(folder, "*.tar")
