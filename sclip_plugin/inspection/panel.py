"""Labelled images drawn: as a picture for TensorBoard and files, and as a page of HTML."""

import base64
import html
import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sclip_plugin.inspection.labels import LabelledImage
from sclip_plugin.inspection.pictures import Picture

COLUMNS = 2
LINES = 7.3  # height of an image's bars, in bars
CELL = (5.2, 1.75)  # inches that an image takes with its bars
HEADER = 0.85  # inches of the title and the figures
CAPTION, KEYWORD = "#e9b7a6", "#bcd8d2"
LEGEND = (("pseudo-captions, beside the paired image of each", CAPTION), ("candidate keywords", KEYWORD))
LONGEST = 42  # letters of a caption that are shown
UNITS = (  # how each figure is named and shown, in this order
    ("effective_captions", "captions an image draws from: {:.1f}"),
    ("trusted", "images with a pseudo-caption: {:.0%}"),
    ("trust", "mean trust in it: {:.0%}"),
    ("drawn_captions", "captions such an image draws from: {:.1f}"),
    ("captions_used", "captions in use: {:.0%}"),
    ("marginal_error", "marginal error: {:.2g}"),
    ("without_candidates", "images without candidate keyword: {:.0%}"),
    ("keyword_confidence", "probability on the candidates: {:.0%}"),
    ("commonest_keyword", "images with the commonest keyword: {:.0%}"),
)
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.3em; overflow-wrap: anywhere } .legend { color: #444; max-width: 62em }
.legend b { padding: .1em .5em; font-weight: 400; color: #222 }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(480px, 1fr)); gap: 1.6em 2em }
.card { display: flex; gap: 1em; border-top: 1px solid #ddd; padding-top: .8em }
.card > img { width: 150px; height: 150px; object-fit: contain; background: #f3f3f1 }
.card > div { flex: 1; min-width: 0 } small { color: #666; display: block; margin: .3em 0 .1em }
.row { display: grid; grid-template-columns: 2.6em 3.6em 1fr; align-items: center; margin: 2px 0; min-height: 1.7em }
.row img { width: 2.2em; height: 2.2em; object-fit: contain } .row b { font-weight: 400; text-align: right }
.row b { font-variant-numeric: tabular-nums; padding-right: .6em } .row span { overflow-wrap: anywhere }
"""
HOW_TO_READ = (
    "Each large picture is an image without a caption. Beside it stand "
    "<b style='background: {caption}'>pseudo-captions</b>: captions of paired images (the small pictures), each with "
    "the weight with which the large one learns it; the weights of all pairs sum to 100%, or to the trust in them, and "
    "the heaviest are shown."
)
HOW_TO_READ_KEYWORDS = (
    " <b style='background: {keyword}'>Candidate keywords</b> are those of the nearest pair's caption, or with "
    "--sclip-candidates plan of all these captions, with the weights with which the image learns them. A bar is as "
    "long as its weight."
)


def sentences(figures: dict[str, float]) -> list[str]:
    """What the figures say, a phrase for each that the panel shows.

    Args:
        figures: from `label_images`.
    """
    return [words.format(figures[name]) for name, words in UNITS if name in figures]


def _legend(labelled: list[LabelledImage]) -> tuple[tuple[str, str], ...]:
    """(words, colour) of each kind of bar that the images have."""
    return LEGEND if any(image.keywords is not None for image in labelled) else LEGEND[:1]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def draw(labelled: list[LabelledImage], title: str, figures: dict[str, float]) -> Figure:
    """A picture of the images, each beside bars that stand for its pseudo-captions and, below them, its keywords."""
    rows = -(-len(labelled) // COLUMNS)
    width, height = CELL[0] * COLUMNS, CELL[1] * rows + HEADER
    figure = Figure(figsize=(width, height))
    figure.text(0.015, 1 - 0.1 / height, _plain(title), fontsize=12, va="top")
    said = sentences(figures)
    for line, part in enumerate((said[:3], said[3:])):
        figure.text(0.015, 1 - (0.36 + 0.2 * line) / height, "    ".join(part), fontsize=8.5, va="top", color="#555")
    for line, (words, colour) in enumerate(_legend(labelled)):
        box = {"facecolor": colour, "edgecolor": "none", "pad": 2.5}
        figure.text(0.985, 1 - (0.43 + 0.23 * line) / height, words, fontsize=8.5, va="center", ha="right", bbox=box)
    for number, image in enumerate(labelled):
        row, column = divmod(number, COLUMNS)
        left, bottom = column / COLUMNS, (height - HEADER - CELL[1] * (row + 1)) / height
        place = (left + 0.012, bottom + 0.05 / height, 1.45 / width, (CELL[1] - 0.2) / height)
        _thumbnail(figure.add_axes(place), image.picture)
        tall = (CELL[1] - 0.13) / height
        _bars(figure.add_axes((left + 1.95 / width, bottom, (CELL[0] - 2.02) / width, tall)), image)
        for line, source in enumerate(image.sources):
            side = tall / LINES
            place = (left + 1.7 / width, bottom + tall - side * (line + 0.95), 0.23 / width, 0.9 * side)
            _thumbnail(figure.add_axes(place), source)
    return figure


def _thumbnail(axes: Axes, picture: Picture) -> None:
    axes.imshow(picture.open())
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#ddd")


def _plain(text: str) -> str:
    """The text with its dollar signs escaped, because matplotlib reads $…$ as mathematics."""
    return text.replace("$", r"\$")


def _bars(axes: Axes, image: LabelledImage) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(LINES, 0)
    captions = image.captions or [("no pseudo-caption", 0.0)]
    for place, (text, weight) in enumerate(captions):
        _bar(axes, place, text, weight, CAPTION)
    for place, (text, weight) in enumerate(image.keywords or (), len(captions) + 1):
        _bar(axes, place, text, weight, KEYWORD)
    if image.keywords == []:
        axes.text(0.01, len(captions) + 1.55, "no candidate keyword", va="center", fontsize=8.5, color="#888")


def _bar(axes: Axes, place: int, text: str, weight: float, colour: str) -> None:
    axes.add_patch(Rectangle((0, place + 0.12), max(weight, 0.004), 0.8, color=colour, linewidth=0))
    axes.text(0.01, place + 0.55, f"{weight:.0%}  {_plain(_short(text))}", va="center", fontsize=8.5)


def pixels(figure: Figure) -> np.ndarray:
    """The drawn figure, uint8 (height, width, 3), at 100 dots per inch."""
    figure.set_dpi(100)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def page(labelled: list[LabelledImage], title: str, figures: dict[str, float]) -> str:
    """The images with their pseudo-captions and keywords as one HTML page that needs no other file."""
    said = "".join(f"<li>{html.escape(line)}</li>" for line in sentences(figures))
    body = "".join(_html_card(image) for image in labelled)
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"
    keywords = any(image.keywords is not None for image in labelled)
    legend = (HOW_TO_READ + HOW_TO_READ_KEYWORDS * keywords).format(caption=CAPTION, keyword=KEYWORD)
    top = f"<h1>{html.escape(title)}</h1><p class=legend>{legend}</p><ul>{said}</ul>"
    return f"{head}{top}<div class=cards>{body}</div></html>\n"


def _image(picture: Picture, side: int) -> str:
    """An HTML image of at most `side` pixels a side, its data inside."""
    buffer = io.BytesIO()
    image = picture.open()
    image.thumbnail((side, side))
    image.save(buffer, "PNG")
    return f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}" alt="">'


def _html_card(labelled: LabelledImage) -> str:
    pairs = zip(labelled.captions, labelled.sources)
    drawn = f"pseudo-captions; it draws from {labelled.effective_captions:.1f} captions in effect"
    rows = [f"<small>{drawn}</small>"]
    rows += [_html_row(*one, CAPTION, _image(source, 64)) for one, source in pairs]
    if labelled.keywords is not None:
        rows.append(f"<small>{'candidate keywords' if labelled.keywords else 'no candidate keyword'}</small>")
        rows += [_html_row(*one, KEYWORD) for one in labelled.keywords]
    return f"<div class=card>{_image(labelled.picture, 300)}<div>{''.join(rows)}</div></div>"


def _html_row(text: str, weight: float, colour: str, image: str = "<i></i>") -> str:
    bar = f"background: linear-gradient(to right, {colour} {100 * weight:.1f}%, transparent 0)"
    return f'<div class=row style="{bar}">{image}<b>{weight:.0%}</b><span>{html.escape(text)}</span></div>'
