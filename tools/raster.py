"""Drawings (SVG) as small pictures."""

import io

from PIL import Image


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


def draw(svg: str) -> Image.Image | None:
    """The drawing on white, RGB; None where it cannot be drawn or is empty. Needs `pip install resvg-py`."""
    import resvg_py

    try:
        data = bytes(resvg_py.svg_to_bytes(svg_string=svg))
    except ValueError:
        return None
    with Image.open(io.BytesIO(data)) as picture:
        layer = picture.convert("RGBA")
    white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    flat = Image.alpha_composite(white, layer).convert("RGB")
    return flat if flat.getextrema() != ((255, 255),) * 3 else None
