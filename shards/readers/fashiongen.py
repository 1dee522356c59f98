"""FashionGen: `fashiongen_256_256_{train,validation}.hdf5` (or `.h5`), arrays of pixels and Latin-1 texts.

Needs h5py: `pip install 'sclip-plugin[hdf5]'`.
"""

import glob
import os
from collections.abc import Iterator

from sclip_plugin.errors import DataError
from sclip_plugin.shards.locator import PIXEL_ROWS, PixelImage, h5py, open_hdf5
from sclip_plugin.shards.readers.base import Options
from sclip_plugin.shards.sample import Sample, Tally

ROWS = 1024  # rows of text in memory at a time


class FashionGenReader:
    """`source`: one of the files, or the folder of both. A caption is name and description; the label the category
    (`--label-column input_subcategory` for the finer one); a product's images are one group."""

    takes = frozenset({"label"})

    def __init__(self, source: str, options: Options):
        self.files = _files(source)
        if not self.files:
            raise DataError(f"--from fashiongen: no fashiongen_*.hdf5 in {source}")
        h5py()
        self.label = options.columns.get("label", "input_category")
        self.tally = Tally()

    @classmethod
    def recognises(cls, source: str) -> bool:
        return bool(_files(source))

    def samples(self) -> Iterator[Sample]:
        for path in self.files:
            split = "test" if "validation" in os.path.basename(path) else "train"
            try:
                yield from self._rows(os.path.abspath(path), split)
            except (OSError, ValueError) as error:
                raise DataError(f"{path}: {error}") from None

    def _rows(self, path: str, split: str) -> Iterator[Sample]:
        file = open_hdf5(path)
        fields = ("input_name", "input_description", "input_productID", self.label)
        for field in (PIXEL_ROWS, *fields):
            if field not in file:
                raise DataError(f"{path}: no {field}; there are: {', '.join(sorted(file))}")
        count, height, width, _ = file[PIXEL_ROWS].shape
        length = len(b"P6 %d %d 255\n" % (width, height)) + height * width * 3
        name = os.path.basename(path).rpartition(".")[0]
        for first in range(0, count, ROWS):
            texts = [[_text(cell) for cell in file[field][first : first + ROWS]] for field in fields]
            for row, (title, about, product, label) in enumerate(zip(*texts), first):
                caption = ". ".join(text.rstrip(". ") for text in (title, about) if text.strip())
                where = f"{path}: row {row}"
                image = PixelImage(path, row, length)
                yield Sample(
                    f"{name}-{row:06d}.ppm", image, [caption], label.lower(), f"product {product}", split, where
                )

    def describe(self) -> dict:
        sizes = {os.path.basename(path): os.path.getsize(path) for path in self.files}  # tens of gigabytes: not hashed
        return {
            "format": "fashiongen",
            "name": os.path.basename(os.path.dirname(os.path.abspath(self.files[0]))),
            "bytes": sizes,
        }


def _text(cell) -> str:
    """A cell of an (N, 1) or (N,) array: bytes in Latin-1, or a number."""
    while hasattr(cell, "shape") and cell.shape:
        cell = cell[0]
    return cell.decode("latin-1") if isinstance(cell, bytes) else str(cell)


def _files(source: str) -> list[str]:
    if os.path.isfile(source):
        return [source] if source.lower().endswith((".hdf5", ".h5")) else []
    found = glob.glob(os.path.join(glob.escape(source), "fashiongen_*"))
    return sorted(path for path in found if path.lower().endswith((".hdf5", ".h5")))
