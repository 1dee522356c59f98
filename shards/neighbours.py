"""Images that stand beside one another in an object of a store, read by one request for many of them."""

import io
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Final

from sclip_plugin.shards.locator import Locator, StoredImage, open_image
from sclip_plugin.storage import objects
from sclip_plugin.storage.urls import is_url

RUN: Final = 8 << 20  # bytes of a request, and so of images in memory (ours)


@dataclass(slots=True, frozen=True)
class HeldImage:
    """An image whose bytes are in memory.

    Attributes:
        locator: where it comes from.
        data: its bytes.
    """

    locator: Locator
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)

    def read(self) -> bytes:
        return self.data


def open_images(located: Iterable[tuple[int, Locator]]) -> Iterator[tuple[int, StoredImage]]:
    """(id, image) of each of these, in their order; slices of an object that follow one another are read together."""
    run: list[tuple[int, Locator]] = []
    for number, place in located:
        if run and not _continues(run, place):
            yield from _opened(run)
            run = []
        run.append((number, place))
    yield from _opened(run)


def _continues(run: list[tuple[int, Locator]], place: Locator) -> bool:
    first, last = run[0][1], run[-1][1]
    together = place.form == first.form == "slice" and place.path == first.path and is_url(place.path)
    return together and last.offset < place.offset and place.offset + place.length - first.offset <= RUN


def _opened(run: list[tuple[int, Locator]]) -> Iterator[tuple[int, StoredImage]]:
    data = None
    if len(run) > 1:
        first, last = run[0][1], run[-1][1]
        with suppress(OSError):  # then each image by itself, so that each is told by its own fault
            data = objects.read(first.path, first.offset, last.offset + last.length)
    for number, place in run:
        if data is None:
            yield number, open_image(place)
        else:
            begin = place.offset - run[0][1].offset
            yield number, HeldImage(place, data[begin : begin + place.length])
