"""A study's tables, in Markdown."""

import math
from dataclasses import dataclass
from typing import TypeAlias

from sclip_plugin.commands.study.collect import Measure, RunResult, measures
from sclip_plugin.commands.study.compare import Difference, Spread, difference, spread
from sclip_plugin.commands.study.spec import Study

START_TITLE = "start model"

Rows: TypeAlias = list[list[str]]  # of a table: a list of cells for each row, the heading first


@dataclass
class Outcome:
    """All that a study found.

    Attributes:
        study: what was run.
        start: what the start models measure.
        arms: the result of each seed of each arm, by the arm's name; only what is finished.
        differences: the comparisons that the study asks for.
        failed: the message of each run that failed, by the run's name.
        commands: what was run; None for the study's own commands, of each arm's first seed.
    """

    study: Study
    start: list[RunResult]
    arms: dict[str, dict[int, RunResult]]
    differences: list[Difference]
    failed: dict[str, str]
    commands: list[str] | None = None

    @property
    def measures(self) -> list[Measure]:
        """The figures that are compared."""
        return measures(self.study)

    @property
    def several_seeds(self) -> bool:
        """Whether an arm has been run with more than one seed."""
        return any(len(results) > 1 for results in self.arms.values())

    def title(self, arm: str) -> str:
        """An arm's title."""
        return self.study.arms[arm].title

    def spread(self, arm: str, measure: Measure) -> Spread | None:
        """An arm's measure over its seeds; None where none is finished."""
        values = [result.value(measure) for result in self.arms[arm].values()]
        return spread(values) if values else None


def differences(study: Study, arms: dict[str, dict[int, RunResult]]) -> list[Difference]:
    """The difference of every arm to the baseline, then those of the pairs that the study asks for."""
    pairs = [(name, study.baseline) for name in study.arms if study.baseline and name != study.baseline]
    found = [
        difference(arms[first], arms[second], (first, second), measure, study.evaluation.bootstrap)
        for first, second in [*pairs, *study.compare]
        for measure in measures(study)
    ]
    return [one for one in found if one is not None]


def markdown(outcome: Outcome) -> str:
    """Both tables, what failed, and how to read them."""
    parts = [f"# {outcome.study.title}", outcome.study.about, table(main_rows(outcome))]
    if outcome.differences:
        parts += [table(difference_rows(outcome)), "\n".join(f"- {line}" for line in verdict(outcome))]
    parts += [f"{name} failed: {message}" for name, message in outcome.failed.items()]
    return "\n\n".join(part for part in parts if part) + "\n"


def main_rows(outcome: Outcome) -> Rows:
    """Each measure of each arm in percent, as mean ± standard deviation over seeds; the heading first.

    Where no arm has more than one seed, nothing is said of seeds.
    """
    columns, several = outcome.measures, outcome.several_seeds
    rows: Rows = [["%", *(column.title for column in columns), *(["seeds"] if several else [])]]
    for number, result in enumerate(outcome.start, 1):
        title = START_TITLE if len(outcome.start) == 1 else f"{START_TITLE} {number}"
        rows.append([title, *(f"{result.value(column):.1f}" for column in columns), *([""] if several else [])])
    for arm, results in outcome.arms.items():
        cells = [spread_cell(outcome.spread(arm, column)) for column in columns]
        rows.append([outcome.title(arm), *cells, *([str(len(results))] if several else [])])
    return rows


def difference_rows(outcome: Outcome) -> Rows:
    """The differences in percentage points, with their intervals; the heading first.

    Where no arm has more than one seed, nothing is said of seeds.
    """
    several = outcome.several_seeds
    seeds = ["95% over seeds", "95% over images", "seeds ahead"]
    rows = [["difference, points", "", "mean", *(seeds if several else seeds[1:2])]]
    for one in outcome.differences:
        over_seeds = interval_cell(one.over_seeds.low, one.over_seeds.high)
        cells = [over_seeds, interval_cell(*one.over_images), f"{one.ahead} of {len(one.over_seeds.values)}"]
        names = [f"{outcome.title(one.arm)} − {outcome.title(one.other)}", one.measure.title]
        rows.append([*names, f"{one.over_seeds.mean:+.1f}", *(cells if several else cells[1:2])])
    return rows


def verdict(outcome: Outcome) -> list[str]:
    """What can be said: a sentence for each two arms with sure differences, and one about the others.

    A difference is sure where both of its intervals, over seeds and over images, leave out zero.
    """
    if all(math.isnan(one.over_seeds.low) for one in outcome.differences):
        return ["With one seed nothing can be said about other seeds, so no difference is sure: run at least two."]
    pairs = list(dict.fromkeys((one.arm, one.other) for one in outcome.differences))
    lines, open_pairs = [], []
    for pair in pairs:
        sure = [one for one in outcome.differences if (one.arm, one.other) == pair and one.sure]
        first, second = (outcome.title(arm) for arm in pair)
        if sure:
            lines.append(_sentence(first, second, sure))
        else:
            open_pairs.append(f"{first} and {second}")
    if lines:
        lines.append("These differences would most likely come out again with other seeds and on other images.")
    if open_pairs:
        lines.append(f"Nothing is sure between {'; '.join(open_pairs)}: with other seeds or images it might vanish.")
    return lines


def _sentence(first: str, second: str, sure: list[Difference]) -> str:
    """In what one arm is above another, and in what it is below."""
    parts = []
    for word, some in (
        ("better", [one for one in sure if one.over_seeds.mean > 0]),
        ("worse", [one for one in sure if one.over_seeds.mean < 0]),
    ):
        named = [f"{one.measure.phrase} ({one.over_seeds.mean:+.1f} points)" for one in some]
        if named:
            parts.append(f"{word} in {_listed(named)}")
    return f"Compared with {second}, {first} is {', and '.join(parts)}."


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def spread_cell(found: Spread | None) -> str:
    """A table cell: mean ± standard deviation, or a dash where nothing is finished."""
    if found is None:
        return "–"
    return f"{found.mean:.1f}" if math.isnan(found.std) else f"{found.mean:.1f} ± {found.std:.1f}"


def interval_cell(low: float, high: float) -> str:
    """A table cell: an interval with signs, or a dash where there is none."""
    return "–" if math.isnan(low) else f"{low:+.1f} … {high:+.1f}"


def table(rows: Rows) -> str:
    """A Markdown table of rows of cells, the heading first; columns are padded so that it reads well as text."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
