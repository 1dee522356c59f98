"""SciCap: one JSON per figure in `SciCap-Caption-All/{train,val,test}`, figures in `SciCap-No-Subfig-Img/{split}`.

Figures with subfigures have no image there; they are counted.
"""

import os
from collections.abc import Iterator
from typing import ClassVar

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import Description, Options, Record, split_name
from sclip_plugin.shards.readers.fields import text_or_none
from sclip_plugin.shards.readers.files import ImageFolder
from sclip_plugin.shards.readers.jsonfile import read_object
from sclip_plugin.shards.readers.named import NamedImages
from sclip_plugin.shards.sample import Sample, Tally

CAPTIONS, FIGURES = "SciCap-Caption-All", "SciCap-No-Subfig-Img"
SPLITS = ("train", "val", "test")
SUBFIGURES = "caption of a figure with subfigures"
NO_OBJECT = "figure whose .json is not a JSON object"


class SciCapReader:
    """Reads the folder that holds both. A figure's label is its `figure-type`, its group the paper."""

    takes: ClassVar[frozenset[str]] = frozenset({"images"})

    def __init__(self, source: str, options: Options) -> None:
        if not self.recognises(source):
            raise DataError(f"--from scicap: no {CAPTIONS} in {source}")
        self.source = source
        self.tally = Tally()
        folder = ImageFolder(options.images or os.path.join(source, FIGURES), "--images")
        self.images = NamedImages(folder, self.tally)

    @classmethod
    def recognises(cls, source: str) -> bool:
        """True for a folder with `SciCap-Caption-All/`."""
        return os.path.isdir(os.path.join(source, CAPTIONS))

    def samples(self) -> Iterator[Sample]:
        """One sample for each JSON file, then the figures that none names."""
        top = os.path.join(self.source, CAPTIONS)
        for split in sorted(os.listdir(top)):  # some copies write Train, Val, Test
            if split_name(split) in SPLITS and os.path.isdir(os.path.join(top, split)):
                with os.scandir(os.path.join(top, split)) as entries:
                    for entry in entries:
                        if entry.name.endswith(".json") and entry.is_file(follow_symlinks=False):
                            yield from self._sample(entry.path, entry.name, split)
        for sample in self.images.others([top]):
            sample.split = split_name(sample.source.partition("/")[0])
            yield sample

    def _sample(self, path: str, name: str, split: str) -> Iterator[Sample]:
        try:
            about = read_object(path)
        except DataError:
            self.tally.skip_captions(NO_OBJECT)
            return
        if about.get("contains-subfigure"):
            self.tally.skip_captions(SUBFIGURES)
            return
        name = f"{split}/{name.removesuffix('.json')}.png"
        fields = {"image": name, "split": split, "label": about.get("figure-type"), "group": _paper(about)}
        yield from self.images.sample({**fields, "caption": about.get("0-originally-extracted") or ""}, path)

    def describe(self) -> Description:
        """The folder's name; its hundreds of thousands of files are not hashed."""
        return {"format": "scicap", "name": os.path.basename(os.path.realpath(self.source))}


def _paper(about: Record) -> str | None:
    paper = text_or_none(about.get("paper-ID"))
    return f"paper {paper}" if paper else None
