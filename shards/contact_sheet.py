"""A contact sheet: a few samples of each part with their captions, as one PNG."""

import io
import os
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from sclip_plugin.atomic import write_atomic
from sclip_plugin.decoding import ImageFault, decode_rgb
from sclip_plugin.errors import DataError
from sclip_plugin.shards.leftovers import remove_leftovers

SIDE: Final = 200  # pixels of a thumbnail
GAP: Final = 14  # pixels between thumbnails
LINES: Final = 4  # of text below a thumbnail
TEXT: Final = 13  # size of the letters
COLUMNS: Final = 6  # thumbnails side by side
INK, FAINT, PAPER, FRAME = "#1c1e21", "#6b7280", "white", "#d7dae0"


@dataclass(frozen=True)
class Thumbnail:
    """An image on a contact sheet.

    Attributes:
        data: the encoded image.
        texts: what stands below it, each wrapped, as far as there is room.
    """

    data: bytes
    texts: tuple[str, ...]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def draw(rows: Iterable[tuple[str, Sequence[Thumbnail]]], path: Path) -> None:
    """Write the sheet as a PNG, which appears whole or not at all.

    Args:
        rows: (title, thumbnails) of each part; a part without thumbnails is left out.
        path: the PNG file.

    Raises:
        DataError: the file cannot be written, or `path` names none.
    """
    if not path.name:
        raise DataError(f"contact sheet: {str(path)!r} is not the name of a file")
    filled = [(title, thumbnails) for title, thumbnails in rows if thumbnails]
    line = SIDE + LINES * (TEXT + 4) + 2 * GAP
    lines = sum(-(-len(thumbnails) // COLUMNS) for _, thumbnails in filled)
    sheet = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, GAP + len(filled) * 34 + lines * line), PAPER)
    pen, y = ImageDraw.Draw(sheet), GAP
    for title, thumbnails in filled:
        pen.text((GAP, y), title, fill=INK, font=_font(18))
        y += 34
        for first in range(0, len(thumbnails), COLUMNS):
            for column, thumbnail in enumerate(thumbnails[first : first + COLUMNS]):
                _thumbnail(sheet, pen, thumbnail, GAP + column * (SIDE + GAP), y)
            y += line
    encoded = io.BytesIO()
    sheet.save(encoded, "PNG")
    remove_leftovers(path.parent, (path.name,))
    write_atomic(path, encoded.getvalue())


def _thumbnail(sheet: Image.Image, pen: ImageDraw.ImageDraw, thumbnail: Thumbnail, x: int, y: int) -> None:
    small, texts = _decoded(thumbnail)
    scale = SIDE / max(small.size)  # small images are enlarged, or icons would be dots
    size = (max(1, round(small.width * scale)), max(1, round(small.height * scale)))
    small = small.resize(size, Image.Resampling.BICUBIC if scale < 1 else Image.Resampling.NEAREST)
    sheet.paste(small, (x + (SIDE - size[0]) // 2, y + (SIDE - size[1]) // 2))
    pen.rectangle((x - 1, y - 1, x + SIDE, y + SIDE), outline=FRAME)
    for number, line in enumerate(_wrapped(texts)):
        pen.text((x, y + SIDE + 6 + number * (TEXT + 4)), line, fill=INK if texts[0] else FAINT, font=_font(TEXT))


def _decoded(thumbnail: Thumbnail) -> tuple[Image.Image, tuple[str, ...]]:
    """The image with its texts; a blank one where it does not decode, and the reason before the texts."""
    try:
        return decode_rgb(thumbnail.data), thumbnail.texts
    except ImageFault as fault:
        return Image.new("RGB", (SIDE, SIDE), FRAME), (f"({fault})", *thumbnail.texts)


def _wrapped(texts: tuple[str, ...]) -> list[str]:
    """The texts in lines that fit a thumbnail's width, at most `LINES` of them."""
    letters = int(SIDE / _font(TEXT).getlength("n"))
    lines = [line for text in texts for line in textwrap.wrap(text, letters, subsequent_indent="  ")]
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], f"{lines[LINES - 1][: letters - 2]} …"]
    return lines
