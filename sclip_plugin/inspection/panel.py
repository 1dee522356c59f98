"""Cards drawn: a picture for TensorBoard and files, and a page."""

import base64
import html
import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sclip_plugin.inspection.labels import LabelledImage

COLUMNS = 2
CARD = (5.2, 1.75)  # inches
CAPTION, KEYWORD = "#e9b7a6", "#bcd8d2"
LONGEST = 46  # letters of a caption
UNITS = (  # how a figure is named and shown
    ("effective_captions", "captions an image draws from: {:.1f}"),
    ("captions_used", "captions in use: {:.0%}"),
    ("marginal_error", "marginal error: {:.2g}"),
    ("without_candidates", "images without candidate keyword: {:.0%}"),
    ("keyword_confidence", "probability on the candidates: {:.0%}"),
    ("commonest_keyword", "images with the commonest keyword: {:.0%}"),
)
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2em auto; padding: 0 1em }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(460px, 1fr)); gap: 1.2em }
.card { display: flex; gap: 1em } .card img { width: 130px; height: 130px; object-fit: contain; background: #f3f3f1 }
.card div { flex: 1; min-width: 0 } .row { padding: 0 .4em; margin: 2px 0 } small { color: #666 }
"""


def sentences(figures: dict[str, float]) -> list[str]:
    """The figures, each in words."""
    return [words.format(figures[name]) for name, words in UNITS if name in figures]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def draw(cards: list[LabelledImage], title: str, figures: dict[str, float]) -> Figure:
    """A card is an image and, beside it, bars: its pseudo-captions and below them its keywords."""
    rows = -(-len(cards) // COLUMNS)
    figure = Figure(figsize=(CARD[0] * COLUMNS, CARD[1] * rows + 0.85))
    FigureCanvasAgg(figure)
    height = figure.get_figheight()
    figure.text(0.015, 1 - 0.1 / height, _plain(title), fontsize=12, va="top")
    said = sentences(figures)
    for line, part in enumerate((said[:3], said[3:])):
        figure.text(0.015, 1 - (0.36 + 0.2 * line) / height, "    ".join(part), fontsize=8.5, va="top", color="#555")
    for number, card in enumerate(cards):
        row, column = divmod(number, COLUMNS)
        bottom = (height - 0.85 - CARD[1] * (row + 1)) / height
        left, size = column / COLUMNS, (CARD[1] - 0.2) / height
        axes = figure.add_axes((left + 0.012, bottom + 0.05 / height, 1.45 / figure.get_figwidth(), size))
        axes.imshow(card.picture.open())
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color("#ddd")
        width = (CARD[0] - 1.75) / figure.get_figwidth()
        _bars(figure.add_axes((left + 1.68 / figure.get_figwidth(), bottom, width, (CARD[1] - 0.13) / height)), card)
    return figure


def _plain(text: str) -> str:
    """matplotlib reads $…$ as mathematics."""
    return text.replace("$", r"\$")


def _bars(axes, card: LabelledImage) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(7.3, 0)
    lines = [(*one, CAPTION) for one in card.captions] or [("no pseudo-caption", 0.0, CAPTION)]
    gap = [None]
    for place, line in enumerate([*lines, *gap, *((*one, KEYWORD) for one in card.keywords or ())]):
        if line is None:
            continue
        text, weight, colour = line
        axes.add_patch(Rectangle((0, place + 0.12), max(weight, 0.004), 0.8, color=colour, linewidth=0))
        axes.text(0.01, place + 0.55, f"{weight:.0%}  {_plain(_short(text))}", va="center", fontsize=8.5)
    if card.keywords == []:
        axes.text(0.01, len(lines) + 1.55, "no candidate keyword", va="center", fontsize=8.5, color="#888")


def pixels(figure: Figure) -> np.ndarray:
    """uint8 (height, width, 3), at 100 dots per inch."""
    figure.set_dpi(100)
    canvas = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def page(cards: list[LabelledImage], title: str, figures: dict[str, float]) -> str:
    """The cards as one HTML page that needs no other file."""
    said = "".join(f"<li>{html.escape(line)}</li>" for line in sentences(figures))
    body = "".join(_html_card(card) for card in cards)
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"
    return f"{head}<h1>{html.escape(title)}</h1><ul>{said}</ul><div class=cards>{body}</div></html>\n"


def _html_card(card: LabelledImage) -> str:
    buffer = io.BytesIO()
    image = card.picture.open()
    image.thumbnail((260, 260))
    image.save(buffer, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    rows = [_html_row(*one, CAPTION) for one in card.captions]
    rows += [_html_row(*one, KEYWORD) for one in card.keywords or ()]
    rows += ["<small>no candidate keyword</small> "] * (card.keywords == [])
    drawn = f"<small>draws from {card.effective_captions:.1f} captions</small>"
    return f'<div class=card><img src="{source}" alt=""><div>{"".join(rows)}{drawn}</div></div>'


def _html_row(text: str, weight: float, colour: str) -> str:
    bar = f"background: linear-gradient(to right, {colour} {100 * weight:.1f}%, transparent 0)"
    return f'<div class=row style="{bar}">{weight:.0%} {html.escape(text)}</div>'
