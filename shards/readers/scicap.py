"""SciCap: one JSON per figure in `SciCap-Caption-All/{train,val,test}`, figures in `SciCap-No-Subfig-Img/{split}`.

Figures with subfigures have no image there; they are counted.
"""

import json
import os
from collections.abc import Iterator

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import FileImage, Options, Sample, Tally
from sclip_plugin.shards.readers.files import ImageFolder

CAPTIONS, FIGURES = "SciCap-Caption-All", "SciCap-No-Subfig-Img"
SPLITS = ("train", "val", "test")
SUBFIGURES = "caption of a figure with subfigures"


class SciCapReader:
    """`source`: the folder that holds both. A figure's label is its `figure-type`, its group the paper."""

    takes = frozenset({"images"})

    def __init__(self, source: str, options: Options):
        if not self.recognises(source):
            raise DataError(f"--from scicap: no {CAPTIONS} in {source}")
        self.source = source
        self.folder = ImageFolder(options.images or os.path.join(source, FIGURES), "--images")
        self.tally = Tally()

    @classmethod
    def recognises(cls, source: str) -> bool:
        return os.path.isdir(os.path.join(source, CAPTIONS))

    def samples(self) -> Iterator[Sample]:
        for split in SPLITS:
            folder = os.path.join(self.source, CAPTIONS, split)
            if os.path.isdir(folder):
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.name.endswith(".json") and entry.is_file(follow_symlinks=False):
                            yield from self._sample(entry.path, entry.name, split)

    def _sample(self, path: str, name: str, split: str) -> Iterator[Sample]:
        about = _json(path)
        caption = str(about.get("0-originally-extracted") or "")
        if about.get("contains-subfigure"):
            self.tally.skip_captions(SUBFIGURES)
            return
        source, reason = self.folder.locate(f"{split}/{name.removesuffix('.json')}.png")
        if source is None:
            self.tally.skip_captions(reason)
            self.tally.notes[f"row without image: {reason}"] += 1
            return
        label, paper = about.get("figure-type"), about.get("paper-ID")
        group = f"paper {paper}" if paper else None
        yield Sample(source, FileImage(self.folder.path(source)), [caption], label or None, group, split, path)

    def describe(self) -> dict:
        return {"format": "scicap", "name": os.path.basename(os.path.realpath(self.source))}


def _json(path: str) -> dict:
    try:
        with open(path, "rb") as file:
            about = json.load(file)
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    if not isinstance(about, dict):
        raise DataError(f"{path}: not a JSON object")
    return about
