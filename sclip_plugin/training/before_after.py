"""What a run has gained: the start model's measures beside the trained one's, and the best epoch of each."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sclip_plugin.evaluation.names import ACCURACY, MEAN_RECALL, RECALLS, mean_recall, short_name

START: Final = 0  # epochs behind the start model
NO_MEASURES: Final = ("epoch", "num_samples")  # what the host writes among its measures
_LOWER: Final = ("loss", "rank")  # words in the names of measures of which less is better; the others are shares


@dataclass(frozen=True)
class Change:
    """How one measure went.

    Attributes:
        metric: its name.
        start: the start model's; None where that was not evaluated.
        end: after the last epoch.
        best: the best of all epochs, the start among them.
        epoch: after how many epochs it was best; the first of equal ones.
    """

    metric: str
    start: float | None
    end: float
    best: float
    epoch: int

    @property
    def share(self) -> bool:
        """Whether it lies between 0 and 1, more being better, and is shown in percent."""
        return _more_is_better(self.metric)


class BeforeAfter:
    """The measures of a run by the number of epochs behind them."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, float]] = {}

    def add(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Take what an evaluation after `epoch` epochs gave; a later value of the same name replaces the earlier."""
        row = self.rows.setdefault(epoch, {})
        row.update({name: float(value) for name, value in metrics.items() if name not in NO_MEASURES})
        if all(name in row for name in RECALLS):
            row[MEAN_RECALL] = mean_recall(row)

    def changes(self, last: int) -> list[Change]:
        """How each measure went that the evaluation after `last` epochs gave, in its order."""
        start = self.rows.get(START, {})
        return [Change(name, start.get(name), end, *self._best(name)) for name, end in self.rows.get(last, {}).items()]

    def _best(self, name: str) -> tuple[float, int]:
        """(value, epoch); the last epoch's where no value is a number."""
        known = [(row[name], epoch) for epoch, row in sorted(self.rows.items()) if name in row]
        finite = [one for one in known if math.isfinite(one[0])]
        if not finite:
            return known[-1]
        return (max if _more_is_better(name) else min)(finite, key=lambda one: one[0])

    def table(self, last: int) -> str:
        """The changes as text, shares in percent; empty where the evaluation after `last` epochs gave nothing."""
        changes = self.changes(last)
        if not changes:
            return ""
        titles = ["", "start", f"epoch {last}", "change", "best", "after epoch"]
        cells = [titles, *([short_name(one.metric), *_cells(one)] for one in changes)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(titles))]
        lines = [
            "  ".join([f"{row[0]:<{widths[0]}}", *(f"{text:>{width}}" for text, width in zip(row[1:], widths[1:]))])
            for row in cells
        ]
        return "\n".join([*lines, *_sentences(changes, last)])

    def markdown(self, last: int) -> str:
        """The same as a Markdown table, which TensorBoard shows."""
        head = ["| | start | end | change | best | after epoch |", "|---|---|---|---|---|---|"]
        changes = self.changes(last)
        lines = [f"| {' | '.join([short_name(one.metric), *_cells(one)])} |" for one in changes]
        return "\n".join([*head, *lines, "", *_sentences(changes, last)])


def _more_is_better(metric: str) -> bool:
    return not any(word in metric for word in _LOWER)


def _cells(change: Change) -> list[str]:
    """start, end, change, best, epoch."""
    factor, digits = (100, 1) if change.share else (1, 3)
    start = "—" if change.start is None else f"{factor * change.start:.{digits}f}"
    gain = "—" if change.start is None else f"{factor * (change.end - change.start):+.{digits}f}"
    return [start, f"{factor * change.end:.{digits}f}", gain, f"{factor * change.best:.{digits}f}", str(change.epoch)]


def _sentences(changes: list[Change], last: int) -> Iterator[str]:
    """Where the best epoch was, by the one figure of each set; and that the start is not known, where it is not."""
    if all(one.start is None for one in changes):
        yield "the start model was not evaluated: the run was resumed, or no set was due then"
    for one in changes:
        if one.metric != MEAN_RECALL and not one.metric.endswith(f"/{ACCURACY}"):
            continue
        name, value = short_name(one.metric), f"{100 * one.best:.1f}"
        if one.epoch == START:
            yield f"best {name}: the start model's, {value}; training has not raised it"
        elif one.epoch == last:
            yield f"best {name}: after the last epoch, {value}"
        else:
            yield f"best {name}: after epoch {one.epoch}, {value}"
