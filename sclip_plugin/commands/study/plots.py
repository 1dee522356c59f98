"""A study's plots. Colours follow the arms' order; the start model is grey, the baseline dark."""

import io
import math
import statistics
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox, BboxBase

from sclip_plugin.atomic import write_atomic
from sclip_plugin.commands.study.collect import Measure, RunResult
from sclip_plugin.commands.study.compare import spread
from sclip_plugin.commands.study.tables import START_TITLE, Outcome
from sclip_plugin.evaluation.names import CLASSIFICATION, RETRIEVAL

PALETTE = ("#e4572e", "#2a9d8f", "#e9a820", "#7b5ea7", "#3f88c5", "#b5446e", "#6a994e", "#bc6c25", "#577590", "#d16ba5")
BASELINE, START = "#3d4451", "#9aa0a8"
COLUMNS = 3  # plots in a row
SMOOTH = 15  # points that a training curve is averaged over

DOT = 5  # pixels from the middle of a point to its edge
DARKER = 0.7  # part of a point's brightness that its name has
NEAR = 8  # points; a name that is farther from its point has a line to it
# where a name is tried, in points from its point, the best places first
LABEL_OFFSETS = [
    (across * step, up * step)
    for step in (5, 12, 20, 30, 42, 56)
    for across, up in ((1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
]

Place = tuple[float, float]  # of a point: across, up
Named = tuple[str, Place, str]  # a point's name, where it is, and its colour
Line = tuple[list[float], list[float]]  # of a curve: all across, all up


def colours(outcome: Outcome) -> dict[str, str]:
    """The colour of each arm by its name."""
    rest = iter(PALETTE * (1 + len(outcome.arms) // len(PALETTE)))
    return {arm: BASELINE if arm == outcome.study.baseline else next(rest) for arm in outcome.arms}


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _grid(panels: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with so many axes, at most `COLUMNS` in a row."""
    columns = min(COLUMNS, panels)
    rows = -(-panels // columns)
    figure = _figure(4.3 * columns + 1.2, height * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[panels:]:
        unused.set_axis_off()
    return figure, axes[:panels]


def overview(outcome: Outcome) -> Figure:
    """Bars with intervals for each measure, and retrieval against classification where there are both."""
    across, up = ([one for one in outcome.measures if one.kind == kind] for kind in (CLASSIFICATION, RETRIEVAL))
    both = bool(across and up)
    figure, every = _grid(len(outcome.measures) + both, 1.6 + 0.42 * (len(outcome.arms) + 1))
    figure.suptitle(outcome.study.title, fontsize=12)
    for number, (axes, measure) in enumerate(zip(every, outcome.measures)):
        bars(axes, outcome, measure, names=number % COLUMNS == 0)
    if both:
        named = scatter(every[-1], outcome, across, up)
        figure.draw_without_rendering()  # lays the axes out, so that it is known where names would lie
        _annotate(every[-1], named)
    return figure


def bars(axes: Axes, outcome: Outcome, measure: Measure, names: bool = True) -> None:
    """Draw means over seeds with their 95% intervals, and a dot for each seed.

    Args:
        axes: where.
        outcome: what the study found.
        measure: what the bars show.
        names: whether the arms' names stand beside the bars.
    """
    colour = colours(outcome)
    rows = [(START_TITLE, START, [outcome.start[0].value(measure)])] if outcome.start else []
    for arm in outcome.arms:
        if found := outcome.spread(arm, measure):
            rows.append((outcome.title(arm), colour[arm], list(found.values)))
    edge = max((_bar(axes, row, shade, values) for row, (_, shade, values) in enumerate(rows)), default=0.0)
    axes.set_xlim(0, 1.05 * edge)
    axes.set_yticks(range(len(rows)), [title if names else "" for title, _, _ in rows], fontsize=9)
    axes.invert_yaxis()
    axes.set_title(f"{measure.title}, %", fontsize=10)
    _bare(axes)


def _bar(axes: Axes, row: int, colour: str, values: list[float]) -> float:
    """Draw one bar; returns how far to the right it reaches, 0 at least."""
    found = spread(values)
    axes.barh(row, found.mean, height=0.66, color=colour, alpha=0.85)
    if not math.isnan(found.low):
        axes.plot([found.low, found.high], [row, row], color="black", linewidth=1.3)
        axes.plot(values, [row] * len(values), "o", color="black", markersize=2.8)
    axes.text(0.012 * found.mean, row, f" {found.mean:.1f}", va="center", fontsize=9, color="white")
    return max(0.0, *values, 0 if math.isnan(found.high) else min(found.high, 1.4 * found.mean))


def scatter(axes: Axes, outcome: Outcome, across: list[Measure], up: list[Measure]) -> list[Named]:
    """Draw means over some sets against means over others: what an arm gains in one kind it may lose in the other.

    Returns:
        The names of the points with their places and colours, for `_annotate`.
    """
    colour = colours(outcome)

    def point(result: RunResult) -> Place:
        return _mean_value(result, across), _mean_value(result, up)

    named: list[Named] = []
    if outcome.start:
        place = point(outcome.start[0])
        axes.plot(*place, "D", color=START, markersize=7)
        named.append((START_TITLE, place, START))
    for arm, results in outcome.arms.items():
        if not results:
            continue
        every_x, every_y = zip(*(point(result) for result in results.values()))
        axes.plot(every_x, every_y, ".", color=colour[arm], alpha=0.5, markersize=5)
        place = (statistics.fmean(every_x), statistics.fmean(every_y))
        axes.plot(*place, "o", color=colour[arm], markersize=8)
        named.append((outcome.title(arm), place, colour[arm]))
    axes.margins(0.18)
    for some, label, mean in ((across, axes.set_xlabel, "mean accuracy"), (up, axes.set_ylabel, "mean of R@1,5,10")):
        label(f"{some[0].title if len(some) == 1 else f'{mean} of {len(some)} sets'}, %", fontsize=9)
    axes.set_title("retrieval against classification", fontsize=10)
    _bare(axes)
    return named


def _mean_value(result: RunResult, some: list[Measure]) -> float:
    return statistics.fmean(result.value(one) for one in some)


def _annotate(axes: Axes, named: list[Named]) -> None:
    """Write names beside their points where they lie on no other name or point, farther off with a line where need be.

    The figure has been laid out already; the names do not take part in its layout.
    """
    inside = axes.get_window_extent()
    taken = [Bbox.from_extents(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in axes.transData.transform(_places(named))]
    for name, place, colour in sorted(named, key=lambda one: -one[1][1]):
        best: tuple[float, Annotation] | None = None
        for across, up in LABEL_OFFSETS:
            text = _label(axes, name, place, colour, (across, up))
            box = text.get_window_extent().padded(1)
            hidden = sum(_shared(box, other) for other in taken) + max(0.0, _area(box) - _shared(box, inside))
            if best is None or hidden < best[0]:
                if best is not None:
                    best[1].remove()
                best = (hidden, text)
            else:
                text.remove()
            if hidden == 0:
                break
        assert best is not None  # there are offsets
        taken.append(best[1].get_window_extent().padded(1))


def _places(named: list[Named]) -> list[Place]:
    return [place for _, place, _ in named] or [(0.0, 0.0)]


def _label(axes: Axes, name: str, place: Place, colour: str, offset: tuple[int, int]) -> Annotation:
    across, up = offset
    dark = tuple(DARKER * part for part in to_rgb(colour))  # to be read on white
    far = max(abs(across), abs(up)) > NEAR
    return axes.annotate(
        name,
        place,
        xytext=(across, up),
        textcoords="offset points",
        fontsize=8,
        color=dark,
        ha="left" if across > 0 else "right" if across < 0 else "center",
        va="bottom" if up > 0 else "top" if up < 0 else "center",
        arrowprops={"arrowstyle": "-", "color": dark, "linewidth": 0.6, "shrinkB": 3} if far else None,
        in_layout=False,
    )


def _area(box: BboxBase) -> float:
    return float(box.width * box.height)


def _shared(box: BboxBase, other: BboxBase) -> float:
    """The area, in square pixels, that both boxes cover."""
    both = Bbox.intersection(box, other)
    return 0.0 if both is None else _area(both)


def curves(outcome: Outcome) -> Figure | None:
    """Training's contrastive loss, and each measure after every evaluated epoch; means over seeds.

    Returns:
        None where the runs left nothing to draw.
    """
    results = [result for one in outcome.arms.values() for result in one.values()]
    losses = any(result.losses for result in results)
    followed = {name for one in results if len(one.history) > 1 for name in one.history[0][1]}
    measures = [measure for measure in outcome.measures if measure.dataset in followed]
    if not losses and not measures:
        return None
    figure, every = _grid(losses + len(measures), 4.1)
    if losses:
        _loss_curves(every[0], outcome)
    for axes, measure in zip(every[losses:], measures):
        _measure_curves(axes, outcome, measure)
    handles, labels = every[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), fontsize=8, frameon=False)
    return figure


def _loss_curves(axes: Axes, outcome: Outcome) -> None:
    _lines(axes, outcome, lambda result: _smooth(result.losses), marker="")
    axes.set_title("training, contrastive loss", fontsize=10)
    axes.set_xlabel("logged step", fontsize=9)
    _bare(axes)


def _measure_curves(axes: Axes, outcome: Outcome, measure: Measure) -> None:
    start = outcome.start[0].value(measure) if outcome.start else None
    _lines(axes, outcome, lambda result: _history(result, measure, start), marker="o")
    if start is not None:
        axes.axhline(start, color=START, linestyle=":", label=START_TITLE)
    axes.set_title(f"{measure.title}, %", fontsize=10)
    axes.set_xlabel("epoch", fontsize=9)
    _bare(axes)


def _lines(axes: Axes, outcome: Outcome, line_of: Callable[[RunResult], Line], marker: str) -> None:
    """Draw a line for each arm: the mean of its runs' lines, as far as the shortest goes."""
    colour = colours(outcome)
    for arm, results in outcome.arms.items():
        lines = [line for result in results.values() if (line := line_of(result))[0]]
        if lines:
            means = [statistics.fmean(values) for values in zip(*(up for _, up in lines))]
            across = lines[0][0][: len(means)]
            axes.plot(across, means, color=colour[arm], label=outcome.title(arm), marker=marker, markersize=3)


def _smooth(losses: list[float]) -> Line:
    width = max(1, min(SMOOTH, len(losses) // 4))
    step = max(1, width // 3)
    means = [statistics.fmean(losses[i : i + width]) for i in range(0, len(losses) - width + 1, step)]
    return [i * step + width / 2 for i in range(len(means))], means


def _history(result: RunResult, measure: Measure, start: float | None) -> Line:
    """The measure over epochs; the start model's value stands at epoch 0. No line where no epoch was measured."""
    if not result.history:
        return [], []
    points: list[Place] = [] if start is None else [(0, start)]
    points += [(epoch, table[measure.dataset][measure.key]) for epoch, table in result.history]
    return [epoch for epoch, _ in points], [value for _, value in points]


def svg(figure: Figure) -> str:
    """The figure as an `<svg>` element; its text stays text."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sclip", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def png(figure: Figure, path: Path) -> None:
    """Write a PNG; it appears whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomic(path, buffer.getvalue())
