"""How this project decodes an image: one rule for training, evaluation, inspection, conversion and verification.

An image is decoded if it is of one of `FORMATS` and has at most `PIL.Image.MAX_IMAGE_PIXELS` pixels (89 million unless
a program changes it). open_clip opens an image with PIL and converts it to RGB; `decode_rgb` gives the same pixels.
"""

import io
import math
from collections.abc import Callable
from functools import cache
from typing import IO, Any, Final
from warnings import filterwarnings

from PIL import Image

from sclip_plugin.errors import UsageError

# What PIL recognises is far more; left out is what runs a program (EPS) and what no data set of photographs holds.
FORMATS: Final = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF")
EMPTY, BOMB, UNDECODABLE = "empty file", "decompression bomb", "undecodable image"

# PIL warns of images above its limit and refuses them above twice the limit. Here they are refused above the limit
# and counted under `BOMB`, so the warning would be a second message about the same image.
filterwarnings("ignore", category=Image.DecompressionBombWarning)


class ImageFault(Exception):
    """An image that cannot be used. The message is the reason under which it is counted."""


@cache
def _known_formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def open_image(file: IO[bytes]) -> Image.Image:
    """The image in `file`, of which only the header has been read.

    Raises:
        ImageFault: the format is unknown, the header is damaged, or the image has too many pixels.
    """
    try:
        picture = Image.open(file, formats=_known_formats())
    except Image.DecompressionBombError:
        raise ImageFault(BOMB) from None
    except Exception:  # decoders raise whatever they like on hostile bytes; the reason is counted, not lost
        raise ImageFault(UNDECODABLE) from None
    limit = Image.MAX_IMAGE_PIXELS
    if limit and picture.width * picture.height > limit:
        raise ImageFault(BOMB)
    return picture


def load(picture: Image.Image) -> None:
    """Decode the pixels of an opened image.

    Raises:
        ImageFault: the data are damaged or end too early.
    """
    try:
        picture.load()
    except Image.DecompressionBombError:
        raise ImageFault(BOMB) from None
    except Exception:  # as above
        raise ImageFault(UNDECODABLE) from None


def decode_rgb(data: bytes, draft: int | None = None) -> Image.Image:
    """The decoded image in RGB.

    Args:
        data: the encoded image.
        draft: where given, a JPEG whose sides are at least twice this is decoded at 1/2, 1/4 or 1/8 of its size (by
            libjpeg, in a fraction of the time), with no side below this. Changes pixels a little.

    Raises:
        ImageFault: the image cannot be used.
    """
    if not data:
        raise ImageFault(EMPTY)
    with open_image(io.BytesIO(data)) as picture:
        if draft:
            picture.draft("RGB", (draft, draft))
        load(picture)
        # converting copies even where there is nothing to convert
        return picture if picture.mode == "RGB" else picture.convert("RGB")


def draft_side(transform: Callable[[Any], Any]) -> int:
    """The smallest side in pixels that a draft of a JPEG may have: twice what the smallest crop is resized to.

    The factor is ours: at twice the resolution, resizing hides what the draft leaves out.

    Args:
        transform: open_clip's training transform.

    Raises:
        UsageError: the transform has no random resized crop, so that nothing is known of its crops.
    """
    for step in getattr(transform, "transforms", ()):
        size, scale = getattr(step, "size", None), getattr(step, "scale", None)
        if size is not None and scale is not None:
            longest = max(size) if isinstance(size, (tuple, list)) else size
            return math.ceil(2 * longest / math.sqrt(min(scale)))
    raise UsageError("--sclip-draft-jpeg needs a training transform with a random resized crop")
