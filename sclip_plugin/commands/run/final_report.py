"""The end of `sclip run`: its table and report, which are a study's, with the chosen model as one more row."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sclip_plugin.commands.run.arms import ARMS
from sclip_plugin.commands.run.choice import Candidate, History
from sclip_plugin.commands.run.plan import CHOSEN
from sclip_plugin.commands.study import collect, steps, tables
from sclip_plugin.commands.study.spec import START, Arm, Study
from sclip_plugin.commands.study.tables import Outcome


def final_outcome(
    study: Study,
    out: Path,
    measured: dict[str, History],
    epochs: Sequence[Candidate],
    chosen: tuple[Candidate, float],
    commands: list[str],
) -> Outcome:
    """What the whole run found.

    Args:
        study: the arms with all sets.
        out: the folder.
        measured: what each run's saved epochs measure on the validation sets, by the run's name.
        epochs: the best epoch of each arm's run, of which the results are.
        chosen: what was chosen, with its point between start and tuned model.
        commands: all that was run.

    Raises:
        DataError: a file of results is damaged.
    """
    best, alpha = chosen
    seed = best.run.seed
    arms = {one.run.arm.name: replace(one.run.arm, title=f"{one.run.arm.title}, epoch {one.epoch}") for one in epochs}
    title = f"chosen: {ARMS[best.run.arm.name]}, epoch {best.epoch}, alpha {alpha:g}"
    whole = replace(study, arms={**arms, CHOSEN: Arm(CHOSEN, title, {})})
    results = {name: {seed: _read(whole, out, f"{name}-{seed}")} for name in whole.arms}
    for run in steps.runs(study):
        results[run.arm.name][seed].history = measured[run.name]
    start = [_read(whole, out, START)]
    return Outcome(whole, start, results, tables.differences(whole, results), {}, commands)


def _read(study: Study, out: Path, name: str) -> collect.RunResult:
    found = collect.read(study, out, name)
    assert found is not None, "evaluated before"
    return found
