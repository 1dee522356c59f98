"""What is read off a plain header is what PIL says; every other header is left to PIL."""

import io
import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from sclip_plugin.decoding import ImageFault, open_image
from sclip_plugin.shards.headers import plain_header
from sclip_plugin.shards.images import Transform, inspect
from sclip_plugin.shards.locator import FileImage

ORIENTATION = 0x0112


def encoded(form: str, mode: str, **options) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (17, 23, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return exif


PLAIN = {
    "baseline": encoded("JPEG", "RGB"),
    "grey": encoded("JPEG", "L"),
    "progressive": encoded("JPEG", "RGB", progressive=True),
    "comment": encoded("JPEG", "RGB", comment=b"by hand", dpi=(300, 300)),
    "restarts": encoded("JPEG", "RGB", restart_marker_blocks=2),
    "colours": encoded("PNG", "RGB"),
    "palette": encoded("PNG", "P"),
    "one bit": encoded("PNG", "1"),
    "alpha": encoded("PNG", "RGBA"),
    "grey and alpha": encoded("PNG", "LA"),
    "resolution": encoded("PNG", "L", dpi=(72, 72)),
}
FOR_PIL = {
    "exif": encoded("JPEG", "RGB", exif=turned()),
    "cmyk": encoded("JPEG", "CMYK"),
    "profile": encoded("JPEG", "RGB", icc_profile=b"p" * 90),
    "transparency": encoded("PNG", "P", transparency=0),
    "png exif": encoded("PNG", "RGB", exif=turned()),
    "webp": encoded("WEBP", "RGB"),
    "tiff": encoded("TIFF", "RGB"),
    "nothing": b"",
}
CHUNKS = (b"tRNS", b"pHYs", b"gAMA", b"sRGB", b"bKGD", b"acTL", b"tEXt", b"PLTE", b"IHDR", b"IDAT", b"eXIf")
SEGMENTS = (
    b"\xff\xe0\0\x04ab",
    b"\xff\xfe\0\x04ab",
    b"\xff\xe1\0\x08Exif\0\0",
    b"\xff\xd9",
    b"\xff\xff",
    b"\xff\xdd\0\4\0\1",
)


def of_pil(data: bytes) -> tuple[str, str, tuple[int, int], bool] | str:
    """Format, mode and size, and whether there is anything that a plain header does not have; or why it is unusable."""
    try:
        with open_image(io.BytesIO(data)) as picture:
            special = {"exif", "xmp", "transparency", "Raw profile type exif"} & picture.info.keys()
            return picture.format or "", picture.mode, picture.size, bool(special)
    except ImageFault as fault:
        return str(fault)


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_plain_headers_need_no_pil(data):
    found = plain_header(data)
    assert found is not None
    assert (found.format, found.mode, found.size, False) == of_pil(data)


@pytest.mark.parametrize("data", FOR_PIL.values(), ids=FOR_PIL)
def test_other_headers_are_left_to_pil(data):
    assert plain_header(data) is None


def patched(marker: bytes, offset: int, value: bytes) -> bytes:
    """A JPEG with other bytes behind a marker."""
    data = PLAIN["baseline"]
    at = data.index(marker) + offset
    return data[:at] + value + data[at + len(value) :]


FRAME = PLAIN["baseline"][PLAIN["baseline"].index(b"\xff\xc0") :][:19]


@pytest.mark.parametrize(
    "data",
    [
        patched(b"\xff\xdb", 4, b"\x10"),  # a table of 16 bits, of which half is missing
        PLAIN["baseline"].replace(FRAME, FRAME[:2] + b"\0\x12" + FRAME[4:] + b"\0"),  # a byte too many
        patched(b"\xff\xc0", 4, b"\x0c"),  # 12 bits
        patched(b"\xff\xc0", 5, b"\0\0"),  # no height
    ],
)
def test_damaged_headers_are_left_to_pil(data):
    assert of_pil(data) == "undecodable image"
    assert plain_header(data) is None


def damaged(rng: random.Random) -> bytes:
    """A header with a few bytes changed, left out or put in, or with a segment or chunk more."""
    data = bytearray(rng.choice([*PLAIN.values(), *FOR_PIL.values()]))
    for _ in range(rng.randint(1, 3)):
        at, kind = rng.randrange(min(len(data), rng.choice((40, 300, 700))) or 1), rng.randrange(5)
        if kind == 0:
            data[at : at + 1] = bytes([rng.choice((0, 1, 3, 8, 16, 0xC0, 0xC2, 0xDB, 0xE1, 255, rng.randrange(256)))])
        elif kind == 1:
            del data[at : at + rng.randint(1, 4)]
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.randint(1, 4))
        elif kind == 3:
            del data[at:]
        elif data.startswith(b"\xff\xd8"):
            data[2:2] = rng.choice(SEGMENTS)
        else:
            name, content = rng.choice(CHUNKS), rng.randbytes(rng.choice((0, 1, 4, 9, 13)))
            data[33:33] = (
                struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
            )
    return bytes(data) if rng.random() < 0.4 else with_checksums(bytes(data))


def with_checksums(data: bytes) -> bytes:
    """A PNG with the right checksums, so that what else is wrong decides."""
    whole, at = bytearray(data), 8
    while data.startswith(b"\x89PNG") and at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if at + 12 + length > len(data):
            break
        struct.pack_into(">I", whole, at + 8 + length, zlib.crc32(data[at + 4 : at + 8 + length]))
        at += 12 + length
    return bytes(whole)


def cases() -> Iterator[bytes]:
    rng = random.Random(7)
    for _ in range(6000):
        yield damaged(rng)


def test_no_damaged_header_is_taken_for_another():
    taken = 0
    for data in cases():
        found = plain_header(data)
        if found is not None:
            said = of_pil(data)
            assert said in ((found.format, found.mode, found.size, False), "decompression bomb"), data[:200]
            taken += 1
    assert taken > 500


def test_a_plain_header_with_too_many_pixels_is_a_bomb(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    path.write_bytes(PLAIN["colours"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 23 * 17)
    assert inspect(FileImage(str(path)), Transform()).fault == ""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 23 * 17 - 1)
    assert inspect(FileImage(str(path)), Transform()).fault == "decompression bomb"


@pytest.mark.parametrize("check", [False, True])
def test_pixels_that_are_cut_off_are_found_where_they_are_decoded(tmp_path, check):
    path = tmp_path / "x.jpg"
    path.write_bytes(PLAIN["baseline"][:-200])
    assert inspect(FileImage(str(path)), Transform(), check).fault == ("undecodable image" if check else "")
