"""Images that are damaged, odd or hostile."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from tests.faults import blunt
from tests.faults.damage import Damage, Rng
from tests.helpers.conversion import image


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + b"".join(chunks) + _chunk(b"IEND", b"")


def bomb(rng: Rng) -> bytes:
    """A header that promises billions of pixels."""
    side = rng.choice((50_000, 2**31 - 1, 14_000))
    return _png(side, side, _chunk(b"IDAT", zlib.compress(bytes(1000))))


def text_bomb(rng: Rng) -> bytes:
    """A compressed comment that grows to a hundred megabytes."""
    comment = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000), 1))
    pixels = _chunk(b"IDAT", zlib.compress(bytes(20 * (1 + 3 * 24))))
    return _png(24, 20, comment, pixels)


def odd_mode(rng: Rng) -> bytes:
    """A mode that open_clip does not decode by itself."""
    from PIL import Image

    mode, form = rng.choice(
        (
            ("1", "PNG"),
            ("L", "PNG"),
            ("P", "GIF"),
            ("P", "PNG"),
            ("I;16", "PNG"),
            ("F", "TIFF"),
            ("CMYK", "JPEG"),
            ("LA", "PNG"),
            ("RGBA", "WEBP"),
            ("RGB", "BMP"),
            ("RGB", "ICO"),
            ("RGB", "EPS"),
            ("RGB", "PDF"),
            ("RGB", "PPM"),
            ("RGB", "TGA"),
            ("RGB", "JPEG2000"),
        )
    )
    buffer = io.BytesIO()
    Image.new(mode, (24, 20), 1 if mode in ("1", "I;16", "F", "L", "P") else None).save(buffer, form)
    return buffer.getvalue()


def odd_metadata(rng: Rng) -> bytes:
    """An orientation, palette transparency, or EXIF and colour profiles of junk."""
    options = rng.choice(
        (
            {"exif": b"Exif\0\0" + rng.randbytes(40)},
            {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"},
            {"icc_profile": rng.randbytes(300)},
            {"comment": b"\xff" * 60_000},
        )
    )
    return image(rng.randrange(1000), "JPEG", **options)


def tiny(rng: Rng) -> bytes:
    """One pixel, or a line of pixels."""
    return image(1, "PNG", size=rng.choice(((1, 1), (1, 3000), (3000, 1))))


def not_an_image(rng: Rng) -> bytes:
    """A web page, a header without a body, a script for PostScript."""
    return rng.choice(
        (
            b"<html>404</html>",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff",
            b"%!PS-Adobe-3.0 EPSF-3.0\n",
            b"RIFF\xff\xff\xff\xffWEBPVP8 ",
            b"GIF89a",
            b"BM",
            b"II*\0" + b"\xff" * 60,
        )
    )


KINDS: tuple[Callable[[Rng], bytes], ...] = (bomb, text_bomb, odd_mode, odd_metadata, tiny, not_an_image)


def broken(rng: Rng, data: bytes) -> tuple[bytes, str]:
    """Another image in place of `data`, and what it is."""
    if rng.random() < 0.4:
        way = rng.choice(blunt.BYTES)
        return way(rng, data), way.__name__
    kind = rng.choice(KINDS)
    return kind(rng), kind.__name__


def break_image(rng: Rng, root: Path, path: Path) -> Damage:
    """Replace an image file; however it looks, the image and its captions are read and counted."""
    if rng.random() < 0.15:
        return blunt.replace_file(rng, root, path, fifo=True)
    if rng.random() < 0.1:
        return blunt.rename_file(rng, root, path)
    data, what = broken(rng, path.read_bytes())
    path.write_bytes(data)
    return Damage(f"image: {what}", str(path.relative_to(root)), images=True, lost=(0, 0))
