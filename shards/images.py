"""One image: what its header says, whether open_clip decodes it right as it is, and the bytes for the shard.

open_clip opens an image with PIL and converts it to RGB: that is wrong for 16 bits (saturates), alpha (dropped, not
composited) and EXIF rotation (ignored), and its loader knows no suffix but jpg, jpeg, png and webp.
"""

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from sclip_plugin.decoding import EMPTY, ImageFault, load, open_image

COPIED = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}
_PLAIN_MODES = ("RGB", "L", "1", "P", "YCbCr")
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")
_ORIENTATION = 0x0112
JPEG_QUALITY = 95
END = 2048  # bytes at both ends that make the fingerprint


@dataclass(frozen=True)
class Transform:
    """resize: pixels of the shorter side (never enlarged), or None. quality: JPEG quality of everything, or None."""

    resize: int | None = None
    quality: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What inspection says of an image.

    suffix: of the member. recode: why it must be re-encoded, "" where its bytes are copied. size: bytes. fingerprint:
    equal images have equal ones; of both ends of the file. fault: why it cannot be used, "" where it can.
    """

    suffix: str = ""
    recode: str = ""
    size: int = 0
    fingerprint: bytes = b""
    fault: str = ""


def inspect(image, transform: Transform, check: bool = False) -> Verdict:
    """Verdict on an image (`open()`, `size`) from its header; `check` decodes it too."""
    try:
        size = image.size
        if size == 0:
            return Verdict(fault=EMPTY)
        with image.open() as file, open_image(file) as picture:
            suffix, recode = _judge(picture, transform)
            if check:
                load(picture)
            return Verdict(suffix, recode, size, fingerprint_of(file, size))
    except ImageFault as fault:
        return Verdict(fault=str(fault))
    except OSError as error:
        return Verdict(fault=f"unreadable file ({error.strerror or error})")


def fingerprint_of(file, size: int) -> bytes:
    """16 bytes that are equal for equal files: a hash of both ends."""
    file.seek(0)
    found = hashlib.blake2b(file.read(END), digest_size=16)
    file.seek(max(0, size - END))
    found.update(file.read(END))
    return found.digest()


def _judge(picture: Image.Image, transform: Transform) -> tuple[str, str]:
    recode = _reason(picture, transform)
    suffix = COPIED.get(picture.format, "png")
    if recode:
        suffix = "jpg" if suffix == "jpg" or transform.quality is not None else "png"
    return suffix, recode


def _reason(picture: Image.Image, transform: Transform) -> str:
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


def _rotated(picture: Image.Image) -> bool:
    if not {"exif", "xmp", "Raw profile type exif"} & picture.info.keys():
        return False  # getexif() would decode a whole PNG to look for it
    try:
        return picture.getexif().get(_ORIENTATION, 1) in range(2, 9)
    except Exception:  # damaged metadata; the pixels are read all the same
        return False


def encode(data: bytes, suffix: str, transform: Transform) -> bytes:
    """`data` upright, 8-bit, RGB or grey, without alpha (composited on white), resized if asked, as "jpg" or "png".

    Raises:
        ImageFault: it does not decode.
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
    """Grey (L) or RGB pixels, no palette and no metadata."""
    if picture.mode in _ALPHA_MODES or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(_to_8_bits(np.asarray(picture), picture))
    plain = picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    plain.info = {}
    return plain


def _to_8_bits(pixels: np.ndarray, picture: Image.Image) -> np.ndarray:
    """uint8 of the same shape: 16 bits divided by 257, wider types stretched from their least to greatest value."""
    if picture.mode.startswith("I;16") or picture.format in ("PNG", "PPM"):
        return np.round(pixels.astype(np.float64).clip(0, 65535) / 257).astype(np.uint8)
    values = np.nan_to_num(pixels.astype(np.float64))
    low, high = values.min(), values.max()
    return np.round((values - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)


def _shrink(picture: Image.Image, shorter: int | None) -> Image.Image:
    if shorter is None or min(picture.size) <= shorter:
        return picture
    scale = shorter / min(picture.size)
    size = tuple(max(shorter, round(side * scale)) for side in picture.size)
    return picture.resize(size, Image.Resampling.BICUBIC)
