"""A study's plots. Colours follow the arms' order; the start model is grey, the baseline dark."""

import io
import math
import os
import statistics
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sclip_plugin.commands.study.collect import Measure
from sclip_plugin.commands.study.compare import spread
from sclip_plugin.commands.study.tables import START_TITLE, Outcome

PALETTE = ("#e4572e", "#2a9d8f", "#e9a820", "#7b5ea7", "#3f88c5", "#b5446e", "#6a994e", "#bc6c25", "#577590", "#d16ba5")
BASELINE, START = "#3d4451", "#9aa0a8"
COLUMNS = 3  # plots in a row
SMOOTH = 15  # points that a training curve is averaged over


def colours(outcome: Outcome) -> dict[str, str]:
    """{arm: colour}."""
    rest = iter(PALETTE * (1 + len(outcome.arms) // len(PALETTE)))
    return {arm: BASELINE if arm == outcome.study.baseline else next(rest) for arm in outcome.arms}


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _bare(axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _grid(panels: int, height: float) -> tuple[Figure, list]:
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
    both = [[one for one in outcome.measures if one.kind == kind] for kind in ("classification", "retrieval")]
    panels = len(outcome.measures) + all(both)
    figure, every = _grid(panels, 1.6 + 0.42 * (len(outcome.arms) + 1))
    figure.suptitle(outcome.study.title, fontsize=12)
    for number, (axes, measure) in enumerate(zip(every, outcome.measures)):
        bars(axes, outcome, measure, names=number % COLUMNS == 0)
    if all(both):
        scatter(every[-1], outcome, *both)
    return figure


def bars(axes, outcome: Outcome, measure: Measure, names: bool = True) -> None:
    """Means over seeds with their 95% intervals, a dot for each seed."""
    colour = colours(outcome)
    arms = [arm for arm in outcome.arms if outcome.arms[arm]]
    labels = [START_TITLE] * bool(outcome.start) + [outcome.title(arm) for arm in arms]
    edge = 0.0
    for row, arm in enumerate([None] * bool(outcome.start) + arms):
        values = [outcome.start[0].value(measure)] if arm is None else list(outcome.spread(arm, measure).values)
        found = spread(values)
        axes.barh(row, found.mean, height=0.66, color=START if arm is None else colour[arm], alpha=0.85)
        if not math.isnan(found.low):
            axes.plot([found.low, found.high], [row, row], color="black", linewidth=1.3)
            axes.plot(values, [row] * len(values), "o", color="black", markersize=2.8)
        edge = max(edge, *values, 0 if math.isnan(found.high) else min(found.high, 1.4 * found.mean))
        axes.text(0.012 * found.mean, row, f" {found.mean:.1f}", va="center", fontsize=9, color="white")
    axes.set_xlim(0, 1.05 * edge)
    axes.set_yticks(range(len(labels)), labels if names else [""] * len(labels), fontsize=9)
    axes.invert_yaxis()
    axes.set_title(f"{measure.title}, %", fontsize=10)
    _bare(axes)


def scatter(axes, outcome: Outcome, across: list[Measure], up: list[Measure]) -> None:
    """Retrieval against classification, means over the sets: what an arm gains in one it may lose in the other."""
    colour = colours(outcome)

    def point(result) -> tuple[float, float]:
        return tuple(statistics.fmean(result.value(one) for one in some) for some in (across, up))

    named: list[tuple[str, tuple[float, float]]] = []
    if outcome.start:
        place = point(outcome.start[0])
        axes.plot(*place, "D", color=START, markersize=7)
        named.append((START_TITLE, place))
    for arm, results in outcome.arms.items():
        if not results:
            continue
        points = [point(result) for result in results.values()]
        axes.plot(*zip(*points), ".", color=colour[arm], alpha=0.5, markersize=5)
        place = [statistics.fmean(values) for values in zip(*points)]
        axes.plot(*place, "o", color=colour[arm], markersize=8)
        named.append((outcome.title(arm), tuple(place)))
    axes.margins(0.18)
    _annotate(axes, named)
    for some, label, mean in ((across, axes.set_xlabel, "mean accuracy"), (up, axes.set_ylabel, "mean of R@1,5,10")):
        label(f"{some[0].title if len(some) == 1 else f'{mean} of {len(some)} sets'}, %", fontsize=9)
    axes.set_title("retrieval against classification", fontsize=10)
    _bare(axes)


def _annotate(axes, named: list[tuple[str, tuple[float, float]]]) -> None:
    """Names beside their points; one that would lie on another goes below its point."""
    low, high = axes.get_ylim()
    above = None
    for name, place in sorted(named, key=lambda one: -one[1][1]):
        close = above is not None and above - place[1] < 0.05 * (high - low)
        axes.annotate(name, place, xytext=(5, -11 if close else 4), textcoords="offset points", fontsize=8)
        above = None if close else place[1]


def curves(outcome: Outcome) -> Figure | None:
    """Training's contrastive loss, and each measure after every evaluated epoch; means over seeds."""
    histories = any(len(result.history) > 1 for results in outcome.arms.values() for result in results.values())
    losses = any(result.losses for results in outcome.arms.values() for result in results.values())
    panels = ["loss"] * losses + (outcome.measures if histories else [])
    if not panels:
        return None
    figure, every = _grid(len(panels), 4.1)
    for axes, panel in zip(every, panels):
        _curve(axes, outcome, panel)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), fontsize=8, frameon=False)
    return figure


def _curve(axes, outcome: Outcome, panel: Measure | str) -> None:
    """A measure after each evaluated epoch, or "loss" over the logged steps: a line for each arm."""
    loss, colour = panel == "loss", colours(outcome)
    start = None if loss or not outcome.start else outcome.start[0].value(panel)
    for arm, results in outcome.arms.items():
        lines = [_smooth(one.losses) if loss else _history(one, panel, start) for one in results.values()]
        lines = [line for line in lines if line[0]]
        if lines:
            means = [statistics.fmean(values) for values in zip(*(line[1] for line in lines))]
            style = {"color": colour[arm], "label": outcome.title(arm), "marker": "" if loss else "o", "ms": 3}
            axes.plot(lines[0][0][: len(means)], means, **style)
    if start is not None:
        axes.axhline(start, color=START, linestyle=":", label=START_TITLE)
    axes.set_title("training, contrastive loss" if loss else f"{panel.title}, %", fontsize=10)
    axes.set_xlabel("logged step" if loss else "epoch", fontsize=9)
    _bare(axes)


def _smooth(losses: list[float]) -> tuple[list[float], list[float]]:
    width = max(1, min(SMOOTH, len(losses) // 4))
    means = [statistics.fmean(losses[i : i + width]) for i in range(0, len(losses) - width + 1, max(1, width // 3))]
    return [i * max(1, width // 3) + width / 2 for i in range(len(means))], means


def _history(result, measure: Measure, start: float | None) -> tuple[list[float], list[float]]:
    """The start model's value stands at epoch 0."""
    points = [] if start is None else [(0, start)]
    points += [(epoch, table[measure.dataset][measure.metric]) for epoch, table in result.history]
    return [epoch for epoch, _ in points], [value for _, value in points]


def svg(figure: Figure) -> str:
    """The figure as an `<svg>` element; its text stays text."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sclip", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def png(figure: Figure, path: Path) -> None:
    """Write a PNG; it appears whole or not at all."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.png")
    figure.savefig(aside, dpi=110)
    os.replace(aside, path)
