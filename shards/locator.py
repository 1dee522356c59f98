"""Where the bytes of an image are: in a file of its own, in a part of a larger file, or in rows of pixels.

Files may be objects of a store; of these the whole image is read at once.

A `Locator` is what the scratch index stores; `open_image` turns it into a `StoredImage`, which gives the bytes.
"""

import io
import os
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, Protocol

from sclip_plugin.errors import UsageError
from sclip_plugin.storage import objects
from sclip_plugin.storage.urls import is_url

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from h5py import File

PIXEL_ROWS: Final = "input_image"  # the array of a FashionGen file that holds the pixels


class Locator(NamedTuple):
    """Where an image is, as the index stores it.

    Attributes:
        form: "file", "slice" or "pixels", as `open_image` knows them.
        path: the file, or its URL.
        offset: of a slice: its first byte; of pixels: the row; -1 for a whole file.
        length: bytes; -1 for a whole file.
    """

    form: str
    path: str
    offset: int = -1
    length: int = -1


class Readable(Protocol):
    """An encoded image that can be opened."""

    @property
    def size(self) -> int:
        """Its length in bytes."""
        ...

    def open(self) -> BinaryIO:
        """A seekable file with its bytes, which the caller closes."""
        ...


class StoredImage(Readable, Protocol):
    """An encoded image in its place on the disk."""

    @property
    def locator(self) -> Locator:
        """Where it is."""
        ...

    def read(self) -> bytes:
        """All of its bytes."""
        ...


@dataclass(slots=True, frozen=True)
class FileImage:
    """An image that is a file of its own."""

    path: str

    @property
    def locator(self) -> Locator:
        return Locator("file", self.path)

    @property
    def size(self) -> int:
        return (objects.size(self.path) or 0) if is_url(self.path) else os.path.getsize(self.path)

    def open(self) -> BinaryIO:
        return io.BytesIO(objects.read(self.path)) if is_url(self.path) else open(self.path, "rb")

    def read(self) -> bytes:
        with self.open() as file:
            return file.read()


@dataclass(slots=True, frozen=True)
class SliceImage:
    """An image that stands in a larger file (a tar, a spool): `length` bytes from `offset` on."""

    path: str
    offset: int
    length: int

    @property
    def locator(self) -> Locator:
        return Locator("slice", self.path, self.offset, self.length)

    @property
    def size(self) -> int:
        return self.length

    def open(self) -> BinaryIO:
        if is_url(self.path):
            return io.BytesIO(self.read())
        return io.BufferedReader(_Window(self.path, self.offset, self.length))

    def read(self) -> bytes:
        if is_url(self.path):
            return objects.read(self.path, self.offset, self.offset + self.length)
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.length)


class _Window(io.RawIOBase):
    """A part of a file, as a file of its own."""

    def __init__(self, path: str, offset: int, length: int):
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by close)
        self._first, self._length, self._at = offset, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer)
        wanted = max(0, min(len(view), self._length - self._at))
        self._file.seek(self._first + self._at)
        found = self._file.readinto(view[:wanted]) or 0
        self._at += found
        return found

    def close(self) -> None:
        self._file.close()
        super().close()


def h5py() -> ModuleType:
    """The h5py package, which an extra installs.

    Raises:
        UsageError: the package is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise UsageError("reading HDF5 needs h5py: pip install 'sclip-plugin[hdf5]'") from None
    return h5py


@lru_cache(maxsize=4)
def open_hdf5(path: str) -> "File":
    """The HDF5 file, which stays open for the next caller."""
    return h5py().File(path, "r")


@dataclass(slots=True, frozen=True)
class PixelImage:
    """An image that stands as pixels in an HDF5 file. It reads as a PPM file, so that it is encoded like one.

    Attributes:
        path: the HDF5 file.
        row: position in its array `input_image`, of shape (N, H, W, 3) and type uint8.
        length: bytes of the PPM file.
    """

    path: str
    row: int
    length: int

    @property
    def locator(self) -> Locator:
        return Locator("pixels", self.path, self.row, self.length)

    @property
    def size(self) -> int:
        return self.length

    def open(self) -> BinaryIO:
        return io.BytesIO(self.read())

    def read(self) -> bytes:
        pixels = open_hdf5(self.path)[PIXEL_ROWS][self.row]
        height, width, _ = pixels.shape
        return b"P6 %d %d 255\n" % (width, height) + pixels.tobytes()


def open_image(place: Locator) -> StoredImage:
    """The image at a locator."""
    if place.form == "file":
        return FileImage(place.path)
    if place.form == "slice":
        return SliceImage(place.path, place.offset, place.length)
    return PixelImage(place.path, place.offset, place.length)
