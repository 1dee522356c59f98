"""Drawings (SVG) as small pictures."""

import io

from PIL import Image, ImageChops

PAGE = 256  # pixels of a page's width, when it is drawn in order to find the drawing on it
FAINT = 12  # levels of grey that white paper may differ from white
LARGEST = 2048  # pixels of a page's width, when the drawing is a small part of it
MARGIN = 2  # white pixels around a drawing


def iconify_svg(document: dict, icon: dict, side: int) -> str:
    """The SVG text of an icon of an Iconify set, square, with the drawing in its middle.

    Args:
        document: the set; it holds the sizes of icons that have none of their own.
        icon: the icon.
        side: width and height that the SVG asks for, in pixels.
    """
    left, top = (icon.get(key, document.get(key, 0)) for key in ("left", "top"))
    width, height = (icon.get(key, document.get(key, 16)) for key in ("width", "height"))
    box = max(width, height)
    view = f"{left - (box - width) / 2} {top - (box - height) / 2} {box} {box}"
    head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'{head} width="{side}" height="{side}" viewBox="{view}">{icon["body"]}</svg>'


def draw(svg: str, width: int | None = None, dpi: float = 0, skip_system_fonts: bool = False) -> Image.Image | None:
    """The drawing on white, RGB; None where it cannot be drawn or is empty. Needs `pip install resvg-py`.

    Args:
        svg: text of the drawing.
        width: of the picture, in pixels; without one the drawing says it.
        dpi: pixels to an inch; a drawing whose size is in points or millimetres is drawn with one alone.
        skip_system_fonts: leave text out, which this machine's fonts would draw.
    """
    import resvg_py

    try:
        data = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=width, dpi=dpi, skip_system_fonts=skip_system_fonts))
    except ValueError:
        return None
    with Image.open(io.BytesIO(data)) as picture:
        layer = picture.convert("RGBA")
    white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    flat = Image.alpha_composite(white, layer).convert("RGB")
    return flat if flat.getextrema() != ((255, 255),) * 3 else None


def draw_fitted(svg: str, side: int) -> Image.Image | None:
    """What is drawn on a page, in the middle of a white square that it fills; None where the page is empty.

    Lengths in points and millimetres have the 90 pixels to an inch that programs of SVG 1.1 took; text is left out, so
    that the picture does not depend on this machine's fonts.

    Args:
        svg: text of the page.
        side: of the square, in pixels.
    """
    page = draw(svg, width=PAGE, dpi=90, skip_system_fonts=True)
    box = inked(page) if page else None
    if page is None or box is None:
        return None
    extent = max(box[2] - box[0], box[3] - box[1])
    if extent < 1.5 * side:
        width = min(LARGEST, 2 * PAGE * side // extent)
        larger = draw(svg, width=width, dpi=90, skip_system_fonts=True)
        page = larger or page
        box = inked(page) or box
    return fitted(page.crop(box), side)


def inked(picture: Image.Image) -> tuple[int, int, int, int] | None:
    """The smallest box (left, top, right, bottom) with all that is not white, in pixels; None if nothing is."""
    white = Image.new("RGB", picture.size, (255, 255, 255))
    grey = ImageChops.difference(picture, white).convert("L")
    return grey.point(lambda level: 255 * (level > FAINT)).getbbox()


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """A picture in the middle of a white square, as large as fits.

    Args:
        picture: RGB.
        side: of the square, in pixels.
    """
    scale = (side - 2 * MARGIN) / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    square = Image.new("RGB", (side, side), (255, 255, 255))
    small = picture.resize((width, height), Image.Resampling.LANCZOS)
    square.paste(small, ((side - width) // 2, (side - height) // 2))
    return square
