"""FashionGen: `fashiongen_256_256_{train,validation}.hdf5` (or `.h5`), arrays of pixels and Latin-1 texts.

Needs h5py: `pip install 'sclip-plugin[hdf5]'`.
"""

import glob
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from sclip_plugin.errors import DataError
from sclip_plugin.shards.locator import PIXEL_ROWS, PixelImage, h5py, open_hdf5
from sclip_plugin.shards.readers.base import Description, Options
from sclip_plugin.shards.sample import Sample, Tally

if TYPE_CHECKING:
    from h5py import File

ROWS = 1024  # rows of text in memory at a time


class FashionGenReader:
    """Reads one of the files, or the folder of both.

    A caption is a product's name and description, the label its category (`--label-column input_subcategory` for the
    finer one). The images of a product are one group.
    """

    takes: ClassVar[frozenset[str]] = frozenset({"label"})

    def __init__(self, source: str, options: Options) -> None:
        self.files = _files(source)
        if not self.files:
            raise DataError(f"--from fashiongen: no fashiongen_*.hdf5 in {source}")
        h5py()
        self.label = options.columns.get("label", "input_category")
        self.tally = Tally()

    @classmethod
    def recognises(cls, source: str) -> bool:
        """True for an HDF5 file, and for a folder of files `fashiongen_*`."""
        return bool(_files(source))

    def samples(self) -> Iterator[Sample]:
        """The rows of each file, in order."""
        for path in self.files:
            split = "test" if "validation" in os.path.basename(path) else "train"
            try:
                yield from self._rows(os.path.abspath(path), split)
            except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:  # h5py's, of damaged files
                raise DataError(f"{path}: {error}") from None

    def _rows(self, path: str, split: str) -> Iterator[Sample]:
        file = open_hdf5(path)
        fields = ("input_name", "input_description", "input_productID", self.label)
        for field in (PIXEL_ROWS, *fields):
            if field not in file:
                raise DataError(f"{path}: no {field}; there are: {', '.join(sorted(file))}")
        count, height, width = _pixel_shape(path, file)
        for field in fields:
            if getattr(file[field], "shape", None) not in ((count,), (count, 1)):
                raise DataError(f"{path}: {field} is not an array of {count} values, one for each image")
        length = len(b"P6 %d %d 255\n" % (width, height)) + height * width * 3
        name = os.path.basename(path).rpartition(".")[0]
        for first in range(0, count, ROWS):
            texts = [[_text(cell) for cell in file[field][first : first + ROWS]] for field in fields]
            for row, (title, about, product, label) in enumerate(zip(*texts), first):
                caption = ". ".join(text.rstrip(". ") for text in (title, about) if text.strip())
                yield Sample(
                    f"{name}-{row:06d}.ppm",
                    PixelImage(path, row, length),
                    [caption],
                    label=label.lower(),
                    group=f"product {product}",
                    split=split,
                    where=f"{path}: row {row}",
                )

    def describe(self) -> Description:
        """The folder's name, and the length of each file: they have tens of gigabytes and are not hashed."""
        sizes = {os.path.basename(path): os.path.getsize(path) for path in self.files}
        folder = os.path.basename(os.path.dirname(os.path.abspath(self.files[0])))
        return {"format": "fashiongen", "name": folder, "bytes": sizes}


def _pixel_shape(path: str, file: "File") -> tuple[int, int, int]:
    """Rows, height and width of the array of pixels.

    Raises:
        DataError: it is another array.
    """
    pixels = file[PIXEL_ROWS]
    shape: tuple[int, ...] = getattr(pixels, "shape", ())
    if len(shape) != 4 or shape[3] != 3 or pixels.dtype != "uint8":
        raise DataError(f"{path}: {PIXEL_ROWS} is not an array (N, height, width, 3) of uint8")
    return shape[0], shape[1], shape[2]


def _text(cell: Any) -> str:
    """The text of a cell of an (N, 1) or (N,) array, which holds bytes in Latin-1 or a number."""
    while hasattr(cell, "shape") and cell.shape:
        cell = cell[0]
    return cell.decode("latin-1") if isinstance(cell, bytes) else str(cell)


def _files(source: str) -> list[str]:
    if os.path.isfile(source):
        return [source] if source.lower().endswith((".hdf5", ".h5")) else []
    found = glob.glob(os.path.join(glob.escape(source), "fashiongen_*"))
    return sorted(path for path in found if path.lower().endswith((".hdf5", ".h5")))
