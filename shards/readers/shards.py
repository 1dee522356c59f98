"""The folders that `sclip convert` wrote: paired/, unpaired/ and val/. What `sclip split` reads."""

import glob
import json
import os
from collections.abc import Iterator
from pathlib import Path

from sclip_plugin.errors import DataError
from sclip_plugin.shards import layout
from sclip_plugin.shards.locator import SliceImage
from sclip_plugin.shards.readers.webdataset import caption_list, grouped
from sclip_plugin.shards.sample import Sample, Tally


class ShardsReader:
    """Samples with the key, source, label, group and image that they have in the shards; none is looked at.

    Those of val come as held out, the others as train.

    Raises:
        DataError: no manifest or no shards.
    """

    takes = frozenset()

    def __init__(self, root: str):
        self.root = os.path.realpath(root)
        self.manifest = _manifest(root)
        self.files = {kind: _tars(os.path.join(self.root, layout.shard_folder(kind))) for kind in layout.TRAINING}
        if not any(self.files.values()):
            raise DataError(f"{root}: no shards in paired/, unpaired/ or val/")
        self.tally = Tally()

    def samples(self) -> Iterator[Sample]:
        for kind, files in self.files.items():
            split = "val" if kind == layout.VAL else "train"
            for path in files:
                for key, members in grouped(path, self.tally):
                    yield self._sample(path, key, members, split)

    @staticmethod
    def _sample(path: str, key: str, members: dict, split: str) -> Sample:
        image = next(((suffix, data) for suffix, data in members.items() if isinstance(data, SliceImage)), None)
        about = members.get("json") or {}
        if image is None or "source" not in about:
            raise DataError(
                f"{path}: {key}: no {'image' if image is None else 'source in its .json'}; see `sclip verify`"
            )
        return Sample(
            about["source"],
            image[1],
            caption_list(about, members.get("txt")),
            about.get("label"),
            about.get("group"),
            split,
            f"{path}: {key}",
            key=key,
            suffix=image[0],
        )

    def describe(self) -> dict:
        return {"format": "shards", "name": os.path.basename(self.root), "plan": self.manifest.get("plan")}


def _manifest(root: str) -> dict:
    path = Path(root) / layout.MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not an object")
    except OSError:
        raise DataError(f"{root}: no {layout.MANIFEST}: not made by sclip convert, or not finished") from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    return found


def _tars(folder: str) -> list[str]:
    return sorted(glob.glob(os.path.join(glob.escape(folder), "*.tar")))
