"""Fashion200k: `labels/{dress,jacket,pants,skirt,top}_{train,test}_detect_all.txt`, lines `path\\tscore\\tsentence`.

`path` is `women/CATEGORY/SUBCATEGORY/ITEM/FILE`; an item has several images, which share its sentence and are kept on
one side of every split. Many of the images listed are gone; they are counted.
"""

import glob
import os
from collections.abc import Iterator

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.shards.readers.base import FileImage, Options, Sample, Tally
from sclip_plugin.shards.readers.files import ImageFolder, file_hash

LABELS = {"category": 1, "subcategory": 2}  # part of the path


class Fashion200kReader:
    """`source`: the folder that holds `labels/` and `women/`. `--label-column subcategory` labels more finely."""

    takes = frozenset({"label", "images"})

    def __init__(self, source: str, options: Options):
        self.files = _files(source)
        if not self.files:
            raise DataError(f"--from fashion200k: no labels/*_detect_all.txt in {source}")
        wanted = options.columns.get("label", "category")
        if wanted not in LABELS:
            raise UsageError(f"--label-column of Fashion200k must be one of {', '.join(LABELS)}, got {wanted!r}")
        self.level = LABELS[wanted]
        self.folder = ImageFolder(options.images or source, "--images")
        self.tally = Tally()

    @classmethod
    def recognises(cls, source: str) -> bool:
        return bool(_files(source))

    def samples(self) -> Iterator[Sample]:
        for path in self.files:
            split = "test" if "_test_" in os.path.basename(path) else "train"
            with open(path, encoding="utf-8", errors="replace") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield from self._sample(line.rstrip("\n").split("\t"), f"{path}: line {number}", split)

    def _sample(self, cells: list[str], where: str, split: str) -> Iterator[Sample]:
        parts = cells[0].split("/")
        if len(cells) != 3 or len(parts) < 5:
            raise DataError(f"{where}: expected path, score and sentence separated by tabs, the path of five parts")
        source, reason = self.folder.locate(cells[0])
        if source is None:
            self.tally.skip_captions(reason)
            self.tally.notes[f"row without image: {reason}"] += 1
            return
        image = FileImage(self.folder.path(source))
        yield Sample(source, image, [cells[2]], parts[self.level], f"item {parts[3]}", split, where)

    def describe(self) -> dict:
        hashes = {os.path.basename(path): file_hash(path) for path in self.files}
        return {"format": "fashion200k", "name": os.path.basename(self.folder.root), "sha256": hashes}


def _files(source: str) -> list[str]:
    return sorted(glob.glob(os.path.join(glob.escape(source), "labels", "*_detect_all.txt")))
