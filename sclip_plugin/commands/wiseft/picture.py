"""The picture of a line between two models: each set's score along the way."""

import io
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sclip_plugin.commands.wiseft.interpolate import Point
from sclip_plugin.evaluation.names import SCORE_TITLES


def draw(points: Sequence[Point], chosen: Point) -> bytes:
    """PNG: each set's score in percent along the line, with the chosen point marked. There must be a point."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    alphas = [point.alpha for point in points]
    for name in points[0].scores:
        axes.plot(alphas, [100 * point.scores[name] for point in points], "o-", markersize=4, label=name)
    axes.axvline(chosen.alpha, color="#888", linestyle=":", label=f"chosen: {chosen.alpha:g}")
    axes.set_xlabel("alpha: 0 the start model, 1 the tuned one")
    axes.set_ylabel(f"{' or '.join(SCORE_TITLES.values())}, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
