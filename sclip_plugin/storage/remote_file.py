"""A file in a store that is read in blocks, so that a shard passes through memory piece by piece."""

import io
import os
from typing import Final

from sclip_plugin.storage import objects

BLOCK: Final = 8 << 20  # ours: bytes asked for at once; large against the time that a store takes to answer


class RemoteFile(io.RawIOBase):
    """A seekable file of a store, of which one block is in memory.

    A server that knows no ranges sends everything; then all of it is in memory.

    Args:
        url: the object.
        block: bytes that are asked for at once.

    Attributes:
        size: its length in bytes.

    Raises:
        OSError: there is no such object, or no access.
        StoreDown: the store does not answer.
    """

    def __init__(self, url: str, block: int = BLOCK) -> None:
        super().__init__()
        self.url, self._block, self._at = url, block, 0
        self._first, self._held = 0, b""  # where the bytes in memory begin, and these bytes
        size = objects.size(url)
        if size is None:
            self._held = objects.read(url)
            size = len(self._held)
        self.size = size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """The next `size` bytes, all of them where there are so many; all that are left without a number."""
        stop = self.size if size is None or size < 0 else min(self.size, self._at + size)
        pieces = []
        while self._at < stop:
            if not 0 <= self._at - self._first < len(self._held):
                self._fetch()
            piece = self._held[self._at - self._first : stop - self._first]
            pieces.append(piece)
            self._at += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _fetch(self) -> None:
        stop = min(self.size, self._at + self._block)
        found = objects.read(self.url, self._at, stop)
        whole = len(found) > stop - self._at  # the server knows no ranges
        self._first, self._held = (0, found) if whole else (self._at, found)
        if whole and len(found) != self.size:
            raise OSError(f"{self.url}: {len(found)} bytes came of an object of {self.size}")
