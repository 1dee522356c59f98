"""Fashion200k: `labels/{dress,jacket,pants,skirt,top}_{train,test}_detect_all.txt`, lines `path\\tscore\\tsentence`.

`path` is `women/CATEGORY/SUBCATEGORY/ITEM/FILE`. An item has several images, which share its sentence and are kept on
one side of every split. Many of the images listed are gone; they are counted.
"""

import glob
import os
from collections.abc import Iterator
from typing import ClassVar

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.shards.readers.base import Description, Options
from sclip_plugin.shards.readers.files import ImageFolder, file_hash
from sclip_plugin.shards.readers.named import NamedImages
from sclip_plugin.shards.sample import Sample, Tally

NOT_UTF8 = "line that is not UTF-8: bytes replaced"
LABELS = {"category": 1, "subcategory": 2}  # the part of the path that is the label


class Fashion200kReader:
    """Reads the folder that holds `labels/` and `women/`. `--label-column subcategory` labels more finely."""

    takes: ClassVar[frozenset[str]] = frozenset({"label", "images"})

    def __init__(self, source: str, options: Options) -> None:
        self.files = _files(source)
        if not self.files:
            raise DataError(f"--from fashion200k: no labels/*_detect_all.txt in {source}")
        wanted = options.columns.get("label", "category")
        if wanted not in LABELS:
            raise UsageError(f"--label-column of Fashion200k must be one of {', '.join(LABELS)}, got {wanted!r}")
        self.level = LABELS[wanted]
        self.tally = Tally()
        self.images = NamedImages(ImageFolder(options.images or source, "--images"), self.tally)

    @classmethod
    def recognises(cls, source: str) -> bool:
        """True for a folder with `labels/*_detect_all.txt`."""
        return bool(_files(source))

    def samples(self) -> Iterator[Sample]:
        """One sample for each line of the label files, then the images that none names."""
        for path in self.files:
            split = "test" if "_test_" in os.path.basename(path) else "train"
            with open(path, "rb") as file:
                for number, data in enumerate(file, 1):
                    line = data.decode("utf-8", "replace")
                    self.tally.notes[NOT_UTF8] += line.encode() != data
                    if line.strip():
                        yield from self._sample(line.rstrip("\r\n").split("\t"), f"{path}: line {number}", split)
        for sample in self.images.others(self.files):
            if parts := _parts(sample.source):
                sample.group = f"item {parts[3]}"
            yield sample

    def _sample(self, cells: list[str], where: str, split: str) -> Iterator[Sample]:
        parts = _parts(cells[0])
        if len(cells) != 3 or not parts:
            raise DataError(f"{where}: expected path, score and sentence separated by tabs, the path of five parts")
        label, group = parts[self.level].replace("_", " "), f"item {parts[3]}"
        fields = {"image": cells[0], "caption": cells[2], "label": label, "group": group, "split": split}
        yield from self.images.sample(fields, where)

    def describe(self) -> Description:
        """The folder's name, and the hash of each label file."""
        hashes = {os.path.basename(path): file_hash(path) for path in self.files}
        return {"format": "fashion200k", "name": os.path.basename(self.images.folder.root), "sha256": hashes}


def _parts(path: str) -> list[str]:
    """women, category, subcategory, item, file; [] for another path."""
    parts = path.split("/")
    return parts if len(parts) == 5 else []


def _files(source: str) -> list[str]:
    return sorted(glob.glob(os.path.join(glob.escape(source), "labels", "*_detect_all.txt")))
