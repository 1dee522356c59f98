"""The folders that `sclip convert` wrote: paired/, unpaired/ and val/. `sclip split` reads them."""

import glob
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sclip_plugin.errors import DataError
from sclip_plugin.shards import layout
from sclip_plugin.shards.readers.base import Description, text_or_none
from sclip_plugin.shards.readers.webdataset import TarSample, tar_samples
from sclip_plugin.shards.sample import Sample, Tally


class ShardsReader:
    """Reads samples with the key, source, label, group and image that they have in the shards; no image is looked at.

    The samples of val come as held out, the others as train.

    Attributes:
        manifest: what `manifest.json` holds.

    Raises:
        DataError: there is no manifest, or there are no shards.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        self.manifest = _manifest(root)
        self.files = {kind: _tars(os.path.join(self.root, layout.shard_folder(kind))) for kind in layout.TRAINING}
        if not any(self.files.values()):
            raise DataError(f"{root}: no shards in paired/, unpaired/ or val/")
        self.tally = Tally()

    def samples(self) -> Iterator[Sample]:
        """The samples of paired/, then of unpaired/, then of val/.

        Raises:
            DataError: a sample without image, or without its source in the `.json`.
        """
        for kind, files in self.files.items():
            split = "val" if kind == layout.VAL else "train"
            for path in files:
                for found in tar_samples(path, self.tally):
                    yield _sample(path, found, split)

    def describe(self) -> Description:
        """The folder's name, and the digest of its shard plan."""
        return {"format": "shards", "name": os.path.basename(self.root), "plan": self.manifest.get("plan")}


def _sample(path: str, found: TarSample, split: str) -> Sample:
    where, about = f"{path}: {found.key}", found.about
    if not found.images:
        raise DataError(f"{where}: no image; see `sclip verify`")
    source = about.get("source")
    if not isinstance(source, str):
        raise DataError(f"{where}: no source in its .json; see `sclip verify`")
    suffix, image = next(iter(found.images.items()))
    return Sample(
        source,
        image,
        found.captions,
        label=text_or_none(about.get("label")),
        group=text_or_none(about.get("group")),
        split=split,
        where=where,
        key=found.key,
        suffix=suffix,
    )


def _manifest(root: str) -> dict[str, Any]:
    path = Path(root) / layout.MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not an object")
    except OSError:
        raise DataError(f"{root}: no {layout.MANIFEST}: not made by sclip convert, or not finished") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    return found


def _tars(folder: str) -> list[str]:
    return sorted(glob.glob(os.path.join(glob.escape(folder), "*.tar")))
