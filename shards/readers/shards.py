"""The folders that `sclip convert` wrote: paired/, unpaired/ and val/. `sclip split` reads them."""

import os
from collections.abc import Iterator
from typing import Any

from sclip_plugin.errors import DataError
from sclip_plugin.shards import layout
from sclip_plugin.shards.readers.base import Description
from sclip_plugin.shards.readers.jsonfile import read_object
from sclip_plugin.shards.readers.webdataset import TarSample, tar_samples
from sclip_plugin.shards.sample import Sample, Tally
from sclip_plugin.shards.seen_keys import SeenKeys
from sclip_plugin.storage import places
from sclip_plugin.storage.location import location


class ShardsReader:
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
        with SeenKeys() as seen:
            for kind, files in self.files.items():
                split = "val" if kind == layout.VAL else "train"
                for path in files:
                    for found in tar_samples(path, self.tally):
                        before = seen.add(found.key, location(path))
                        if before is not None:
                            where = f"{path}: {found.key}, before in {before}"
                            raise DataError(f"two samples of the same key: {where}; see `sclip verify`")
                        yield from self._sample(path, found, split)

    def _sample(self, path: str, found: TarSample, split: str) -> Iterator[Sample]:
        fields, image, source = found.fields(), found.image(self.tally), found.about.get("source")
        if image is None:
            fields.skip_image("no image in its sample", self.tally)
        elif not isinstance(source, str) or not source:
            fields.skip_image("no source in its .json", self.tally)
        elif fields.fault:
            fields.skip_image(fields.fault, self.tally)
        else:
            fields.count(self.tally)
            yield Sample(
                source,
                image[1],
                fields.captions,
                label=fields.label,
                group=fields.group,
                split=split,
                where=f"{path}: {found.key}",
                key=found.key,
                suffix=image[0],
            )

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
