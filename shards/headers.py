"""What the headers of plain JPEGs and PNGs say, in a tenth of the time that PIL takes to read them.

PIL decides what an image is. These functions only recognise headers of which PIL would say the same without fail: a
frame or an IHDR, with tables, comments and checksums that are whole, and nothing that carries a rotation, transparency,
several pictures or an animation. Every other header is for PIL, damaged ones included.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Final

_JPEG: Final = b"\xff\xd8\xff"
_SCAN, _TABLES = 0xFFDA, 0xFFDB
_FRAMES: Final = frozenset((0xFFC0, 0xFFC1, 0xFFC2))  # baseline, extended, progressive
_WITHOUT_MEANING: Final = frozenset((0xFFC4, 0xFFDD, 0xFFFE))  # for the mode: Huffman tables, restarts, comments
_JFIF: Final = 0xFFE0
_LAYERS: Final = {1: "L", 3: "RGB"}
_TABLE: Final = 65  # bytes of a quantisation table of 8 bits, with its number

_PNG: Final = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"
_COLOURS: Final = {(1, 0): "1", (8, 0): "L", (8, 2): "RGB", (8, 4): "LA", (8, 6): "RGBA"} | {
    (bits, 3): "P" for bits in (1, 2, 4, 8)
}
_CHUNKS: Final = {b"PLTE": 3, b"gAMA": 4, b"pHYs": 9, b"sRGB": 1}  # before the pixels: least bytes of each

_marker, _frame = struct.Struct(">HH").unpack_from, struct.Struct(">BHHB").unpack_from
_ihdr, _chunk, _number = (struct.Struct(form).unpack_from for form in (">IIBBBBB", ">I4s", ">I"))


@dataclass(slots=True)
class Header:
    """What a header says, under the names of PIL's images.

    Attributes:
        format: "JPEG" or "PNG".
        mode: as PIL names it.
        size: width and height in pixels.
        info: empty; PIL's may hold transparency and metadata.
    """

    format: str
    mode: str
    size: tuple[int, int]
    info: dict[str, object]


def plain_header(head: bytes) -> Header | None:
    """The header of a file that begins with these bytes; None where PIL has to look at it."""
    if head.startswith(_JPEG):
        return _of_jpeg(head)
    return _of_png(head) if head.startswith(_PNG) else None


def _of_jpeg(head: bytes) -> Header | None:
    at, found, end = 2, None, len(head)
    while at + 4 <= end:
        marker, length = _marker(head, at)
        first, at = at + 4, at + 2 + length
        if length < 2 or at > end:
            return None
        if marker == _SCAN:
            return found
        if marker in _FRAMES and found is None:
            found = _of_frame(head, first, length - 2)
            if found is None:
                return None
        elif marker == _TABLES:
            if (length - 2) % _TABLE or any(number > 15 for number in head[first:at:_TABLE]):
                return None  # of 16 bits, or cut off
        elif not (marker in _WITHOUT_MEANING or (marker == _JFIF and length >= 16)):
            return None
    return None


def _of_frame(head: bytes, first: int, length: int) -> Header | None:
    if length < 6:
        return None
    bits, height, width, layers = _frame(head, first)
    if bits != 8 or layers not in _LAYERS or length != 6 + 3 * layers or not width * height:
        return None
    return Header("JPEG", _LAYERS[layers], (width, height), {})


def _of_png(head: bytes) -> Header | None:
    if len(head) < 33:
        return None
    width, height, bits, colour, compression, filtering, interlace = _ihdr(head, 16)
    mode = _COLOURS.get((bits, colour))
    if mode is None or compression or filtering or interlace > 1 or not width * height:
        return None
    return Header("PNG", mode, (width, height), {}) if _checksums(head) else None


def _checksums(head: bytes) -> bool:
    """Whether nothing but plain chunks, with right checksums, stands before the pixels."""
    at, end = 8, len(head)
    while at + 8 <= end:
        length, name = _chunk(head, at)
        if name == b"IDAT":
            return True
        stop = at + 8 + length
        plain = at == 8 or length >= _CHUNKS.get(name, end)
        if not plain or stop + 4 > end or zlib.crc32(head[at + 4 : stop]) != _number(head, stop)[0]:
            return False
        at = stop + 4
    return False
