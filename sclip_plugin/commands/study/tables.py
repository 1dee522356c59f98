"""A study's tables, in Markdown."""

import math
from dataclasses import dataclass

from sclip_plugin.commands.study.collect import Measure, RunResult, measures
from sclip_plugin.commands.study.compare import Difference, Spread, difference, spread
from sclip_plugin.commands.study.spec import Study

START_TITLE = "start model"


@dataclass
class Outcome:
    """All that a study found.

    arms: {arm: {seed: result}}, only what is finished. start: the start models. failed: {run: message}.
    """

    study: Study
    start: list[RunResult]
    arms: dict[str, dict[int, RunResult]]
    differences: list[Difference]
    failed: dict[str, str]

    @property
    def measures(self) -> list[Measure]:
        """The figures that are compared."""
        return measures(self.study)

    def title(self, arm: str) -> str:
        """An arm's title."""
        return self.study.arms[arm].title

    def spread(self, arm: str, measure: Measure) -> Spread | None:
        """Of an arm over its seeds; None where none is finished."""
        values = [result.value(measure) for result in self.arms[arm].values()]
        return spread(values) if values else None


def differences(study: Study, arms: dict[str, dict[int, RunResult]]) -> list[Difference]:
    """Every arm to the baseline, then the pairs that the study asks for."""
    pairs = [(name, study.baseline) for name in study.arms if study.baseline and name != study.baseline]
    found = [
        difference(arms[first], arms[second], (first, second), measure, study.evaluation.bootstrap)
        for first, second in [*pairs, *study.compare]
        for measure in measures(study)
    ]
    return [one for one in found if one is not None]


def markdown(outcome: Outcome) -> str:
    """Both tables, what failed, and how to read them."""
    parts = [f"# {outcome.study.title}", outcome.study.about, main_table(outcome)]
    if outcome.differences:
        parts += [difference_table(outcome), reading(outcome)]
    parts += [f"{name} failed: {message}" for name, message in outcome.failed.items()]
    return "\n\n".join(part for part in parts if part) + "\n"


def main_table(outcome: Outcome) -> str:
    """mean ± standard deviation over seeds, percent."""
    columns = outcome.measures
    rows = [["%", *(column.title for column in columns), "seeds"]]
    for number, result in enumerate(outcome.start, 1):
        title = START_TITLE if len(outcome.start) == 1 else f"{START_TITLE} {number}"
        rows.append([title, *(f"{result.value(column):.1f}" for column in columns), ""])
    for arm, results in outcome.arms.items():
        cells = [spread_cell(outcome.spread(arm, column)) for column in columns]
        rows.append([outcome.title(arm), *cells, str(len(results))])
    return table(rows)


def difference_table(outcome: Outcome) -> str:
    """Paired differences, points."""
    rows = [["difference, points", "", "mean", "95% over seeds", "95% over images", "seeds ahead"]]
    for one in outcome.differences:
        rows.append(
            [
                f"{outcome.title(one.arm)} − {outcome.title(one.other)}",
                one.measure.title,
                f"{one.over_seeds.mean:+.1f}",
                interval_cell(one.over_seeds.low, one.over_seeds.high),
                interval_cell(*one.over_images),
                f"{one.ahead} of {len(one.over_seeds.values)}",
            ]
        )
    return table(rows)


def reading(outcome: Outcome) -> str:
    """The differences that can be trusted: both intervals leave out zero."""
    lines = []
    for one in outcome.differences:
        ends = (one.over_seeds.low, one.over_seeds.high, *one.over_images)  # NaN for one seed: neither above nor below
        word = "above" if all(end > 0 for end in ends) else "below" if all(end < 0 for end in ends) else ""
        if word:
            lines.append(
                f"- {outcome.title(one.arm)} is {word} {outcome.title(one.other)} in {one.measure.title}: "
                f"{one.over_seeds.mean:+.1f} points, and both intervals leave out zero."
            )
    if not lines:
        lines = ["- No difference whose intervals over seeds and over images both leave out zero."]
    return "\n".join(lines)


def spread_cell(found: Spread | None) -> str:
    if found is None:
        return "–"
    return f"{found.mean:.1f}" if math.isnan(found.std) else f"{found.mean:.1f} ± {found.std:.1f}"


def interval_cell(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{low:+.1f} … {high:+.1f}"


def table(rows: list[list[str]]) -> str:
    """Markdown; columns are padded so that it reads well as text."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
