"""The picture of a checkup: how far similarity can be trusted, and unpaired images beside their nearest pairs."""

import io
import textwrap
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec

from sclip_plugin.commands.checkup.evidence import Nearness
from sclip_plugin.inspection.pictures import Picture

SHOWN: Final = 6  # unpaired images
ENDS: Final = (0.02, 0.98)  # quantiles of the trust scale at which the first and the last of them stand
BINS: Final = 30  # of the histograms
DOTS: Final = 10  # groups of pairs, as many in each, whose observed share is drawn
CURVE, PAIRS, UNPAIRED = "#3d4451", "#2a9d8f", "#e4572e"
LINE, LINES = 34, 3  # letters in a line of a caption, and lines that are shown


def spread_rows(similarities: np.ndarray, number: int) -> list[int]:
    """The rows of some images that are evenly spread over the order of similarity, the most similar first.

    Args:
        similarities: (U,), U ≥ 1.
        number: how many; fewer where there are fewer images.
    """
    order = np.argsort(-similarities, kind="stable")
    places = np.linspace(*ENDS, min(number, len(order))) * (len(order) - 1)
    return [int(order[place]) for place in np.unique(places.round().astype(int))]


def draw(nearness: Nearness, pairs: list[Picture], unpaired: list[Picture], title: str) -> bytes:
    """PNG: the calibration with histograms on the left, single images on the right.

    Args:
        nearness: the similarities.
        pairs: the N pairs' pictures with their captions.
        unpaired: the U unpaired images' pictures.
        title: what stands above.
    """
    figure = Figure(figsize=(12.5, 7.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(_plain(title), fontsize=13)
    halves = figure.add_gridspec(1, 2, width_ratios=(1.15, 1))
    left = halves[0, 0].subgridspec(2, 1, height_ratios=(1.6, 1))
    curve = figure.add_subplot(left[0, 0])
    histogram = figure.add_subplot(left[1, 0], sharex=curve)
    _curve(curve, nearness)
    _histograms(histogram, nearness)
    _strip(halves[0, 1], nearness, pairs, unpaired)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _curve(axes: Axes, nearness: Nearness) -> None:
    """Draw the calibration, with the shares that were observed in groups of pairs of equal size."""
    low, high = _range(nearness)
    across = np.linspace(low, high, 400)
    axes.plot(across, nearness.trust.at(across), color=CURVE, linewidth=2, label="fitted, never falling")
    order = np.argsort(nearness.pairs, kind="stable")
    groups = np.array_split(order, min(DOTS, len(order)))
    middle, share = zip(*((nearness.pairs[one].mean(), nearness.right[one].mean()) for one in groups))
    axes.plot(middle, share, "o", color=PAIRS, markersize=6, label=f"observed, {len(groups[0])} pairs a dot")
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_title("How often the nearest pair's caption fits", fontsize=11)
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _histograms(axes: Axes, nearness: Nearness) -> None:
    edges = np.linspace(*_range(nearness), BINS + 1).tolist()
    for values, colour, label in (
        (nearness.pairs, PAIRS, f"{len(nearness.pairs):,} pairs, each left out"),
        (nearness.unpaired, UNPAIRED, f"{len(nearness.unpaired):,} unpaired images"),
    ):
        weights = np.full(len(values), 1 / len(values))
        axes.hist(values, edges, weights=weights, color=colour, alpha=0.5, label=label)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("cosine with the nearest pair's image, in the start model", fontsize=10)
    axes.set_ylabel("of the images", fontsize=10)
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)


def _range(nearness: Nearness) -> tuple[float, float]:
    """Where the axis of similarities begins and ends; it has some width where all of them are equal."""
    both = np.concatenate([nearness.pairs, nearness.unpaired])
    low, high = float(both.min()), float(both.max())
    return (low, high) if high - low > 1e-6 else (low - 0.01, high + 0.01)


def _strip(place: SubplotSpec, nearness: Nearness, pairs: list[Picture], unpaired: list[Picture]) -> None:
    """Draw a row for each image: the image, its nearest pair's, and what is expected of that pair's caption."""
    rows = spread_rows(nearness.unpaired, SHOWN)
    grid = place.subgridspec(len(rows), 3, width_ratios=(1, 1, 2.3)).subplots(squeeze=False)
    trust = nearness.trust.at(nearness.unpaired)
    for (image, near, words), row in zip(grid, rows):
        pair = pairs[nearness.nearest[row]]
        _thumbnail(image, unpaired[row], UNPAIRED)
        _thumbnail(near, pair, PAIRS)
        words.set_axis_off()
        words.text(0, 0.98, f"fits: {trust[row]:.0%}", fontsize=11, weight="bold", va="top")
        words.text(0, 0.72, f"cosine {nearness.unpaired[row]:.2f}", fontsize=8.5, color="#666", va="top")
        words.text(0, 0.5, f"“{_plain(_shortened(pair.captions[0]))}”", fontsize=9.5, va="top")
    grid[0][0].set_title("unpaired", fontsize=10, color=UNPAIRED)
    grid[0][1].set_title("nearest pair", fontsize=10, color=PAIRS)
    grid[0][2].set_title("its caption, and how likely it fits", fontsize=10, loc="left")


def _thumbnail(axes: Axes, picture: Picture, colour: str) -> None:
    axes.imshow(picture.open())
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(colour)


def _shortened(text: str) -> str:
    return "\n".join(textwrap.wrap(text, LINE, max_lines=LINES, placeholder=" …"))


def _plain(text: str) -> str:
    """The text with its dollar signs escaped, because matplotlib reads $…$ as mathematics."""
    return text.replace("$", r"\$")
