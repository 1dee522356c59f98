"""One image: what its header says, whether open_clip decodes it right as it is, and the bytes for the shard.

open_clip opens an image with PIL and converts it to RGB. That is wrong for 16 bits (they saturate), for alpha (it is
dropped and not composited) and for EXIF rotation (it is ignored); and its loader knows no suffix but jpg, jpeg, png and
webp. Such images are re-encoded, all others are copied byte for byte.
"""

import hashlib
import io
import logging
from dataclasses import dataclass
from typing import BinaryIO, Final
from warnings import filterwarnings

from PIL import Image, ImageOps

from sclip_plugin.decoding import EMPTY, ImageFault, load, open_image
from sclip_plugin.shards.headers import Header, plain_header
from sclip_plugin.shards.locator import Readable

COPIED: Final = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}  # format → suffix
_PLAIN_MODES = ("RGB", "L", "1", "P", "YCbCr")
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")
_ORIENTATION = 0x0112  # the EXIF tag
JPEG_QUALITY: Final = 95  # ours: of what must be re-encoded as JPEG, where the user wants no other
END: Final = 2048  # bytes at both ends of a file that make its fingerprint

# PIL warns of damaged metadata and the like, by Python's warnings and by its log, and names no file. An image that
# cannot be used is counted under a reason all the same.
filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Transform:
    """What is done to every image, beside what open_clip needs.

    Attributes:
        resize: pixels that the shorter side is shrunk to (images are never enlarged); None: sizes stay.
        quality: JPEG quality in which every image is re-encoded; None: images are copied where they can be.
    """

    resize: int | None = None
    quality: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What inspection says of an image.

    Attributes:
        suffix: of its member in a shard.
        recode: why the image must be re-encoded; "" where its bytes are copied.
        size: bytes of the file.
        fingerprint: a hash of both ends of the file; equal files have equal ones.
        fault: why the image cannot be used; "" where it can.
    """

    suffix: str = ""
    recode: str = ""
    size: int = 0
    fingerprint: bytes = b""
    fault: str = ""


def inspect(image: Readable, transform: Transform, check: bool = False) -> Verdict:
    """The verdict on an image, from its header; with `check` the image is decoded too."""
    try:
        size = image.size
        if size == 0:
            return Verdict(fault=EMPTY)
        with image.open() as file:
            head, tail = _ends(file, size)
            suffix, recode = _look(file, head, transform, check)
            return Verdict(suffix, recode, size, _print_of(head, tail))
    except ImageFault as fault:
        return Verdict(fault=str(fault))
    except OSError as error:
        return Verdict(fault=f"unreadable file ({error.strerror or error})")


def fingerprint_of(file: BinaryIO, size: int) -> bytes:
    """16 bytes that are equal for equal files of this size: a hash of both ends."""
    return _print_of(*_ends(file, size))


def _ends(file: BinaryIO, size: int) -> tuple[bytes, bytes]:
    """The first and the last `END` bytes of a file; of a short one, both are all of it."""
    file.seek(0)
    head = file.read(END)
    if size <= END:
        return head, head
    file.seek(size - END)
    return head, file.read(END)


def _print_of(head: bytes, tail: bytes) -> bytes:
    found = hashlib.blake2b(head, digest_size=16)
    found.update(tail)
    return found.digest()


def _look(file: BinaryIO, head: bytes, transform: Transform, check: bool) -> tuple[str, str]:
    """The verdict's suffix and reason to re-encode, from the first bytes of the file where these are enough.

    Raises:
        ImageFault: the image cannot be used.
    """
    plain = None if check else plain_header(head)
    limit = Image.MAX_IMAGE_PIXELS
    if plain and not (limit and plain.size[0] * plain.size[1] > limit):
        return _judge(plain, transform)
    file.seek(0)
    with open_image(file) as picture:
        if check:
            load(picture)
        return _judge(picture, transform)


def _judge(picture: Image.Image | Header, transform: Transform) -> tuple[str, str]:
    """The suffix of the member, and why the image must be re-encoded ("" where it need not)."""
    recode = _reason(picture, transform)
    suffix = COPIED.get(picture.format or "", "png")
    if recode:
        suffix = "jpg" if suffix == "jpg" or transform.quality is not None else "png"
    return suffix, recode


def _reason(picture: Image.Image | Header, transform: Transform) -> str:
    if picture.format not in COPIED:
        return f"{picture.format} format"
    if picture.mode in _ALPHA_MODES or "transparency" in picture.info:
        return "alpha"
    if picture.mode.startswith(("I", "F")):
        return "16-bit"
    if picture.mode not in _PLAIN_MODES:
        return picture.mode
    if _rotated(picture):
        return "EXIF rotation"
    if transform.resize is not None and min(picture.size) > transform.resize:
        return "--resize"
    return "--quality" if transform.quality is not None else ""


def _rotated(picture: Image.Image | Header) -> bool:
    if isinstance(picture, Header) or not {"exif", "xmp", "Raw profile type exif"} & picture.info.keys():
        return False  # getexif() would decode a whole PNG to look for it
    try:
        return picture.getexif().get(_ORIENTATION, 1) in range(2, 9)
    except Exception:  # damaged metadata; the pixels are read all the same
        return False


def encode(data: bytes, suffix: str, transform: Transform) -> bytes:
    """The image upright, in 8 bits, RGB or grey, without alpha (composited on white), and resized if that is asked.

    Args:
        data: an encoded image.
        suffix: "jpg" or "png", the format of the result.
        transform: the size and the JPEG quality that are wanted.

    Raises:
        ImageFault: the image does not decode.
    """
    with open_image(io.BytesIO(data)) as picture:
        load(picture)
        plain = _flatten(ImageOps.exif_transpose(picture) if _rotated(picture) or picture.format == "TIFF" else picture)
    plain = _shrink(plain, transform.resize)
    buffer = io.BytesIO()
    if suffix == "jpg":
        plain.save(buffer, "JPEG", quality=transform.quality or JPEG_QUALITY)
    else:
        plain.save(buffer, "PNG")
    return buffer.getvalue()


def _flatten(picture: Image.Image) -> Image.Image:
    """The image in grey (L) or RGB, without a palette and without metadata."""
    if picture.mode in _ALPHA_MODES or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    if picture.mode.startswith(("I", "F")):
        return _to_8_bits(picture)
    mode = "L" if picture.mode in ("1", "L") else "RGB"
    plain = picture if picture.mode == mode else picture.convert(mode)  # which copies also where there is nothing to do
    plain.info = {}
    return plain


def _to_8_bits(picture: Image.Image) -> Image.Image:
    """The image in grey: 16 bits are divided by 257, wider types are stretched to their finite range."""
    import numpy as np  # few images need it, and it takes longer to import than all else here

    pixels = np.asarray(picture).astype(np.float64)
    if picture.mode.startswith("I;16") or picture.format in ("PNG", "PPM"):
        return Image.fromarray(np.round(pixels.clip(0, 65535) / 257).astype(np.uint8))
    values = np.nan_to_num(pixels, posinf=np.inf, neginf=-np.inf)  # no number counts as 0
    finite = values[np.isfinite(values)]
    low, high = (float(np.min(finite)), float(np.max(finite))) if finite.size else (0.0, 0.0)
    stretched = (values.clip(low, high) - low) * (255 / (high - low) if high > low else 0)
    return Image.fromarray(np.round(stretched).astype(np.uint8))


def _shrink(picture: Image.Image, shorter: int | None) -> Image.Image:
    if shorter is None or min(picture.size) <= shorter:
        return picture
    scale = shorter / min(picture.size)
    width, height = (max(shorter, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)
