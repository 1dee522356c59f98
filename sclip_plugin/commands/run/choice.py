"""Which arm is best after which epoch, by the validation sets alone."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sclip_plugin.commands.run.plan import epochs_name
from sclip_plugin.commands.study import collect, steps
from sclip_plugin.commands.study.spec import Study
from sclip_plugin.commands.study.steps import StudyRun
from sclip_plugin.errors import DataError

History = list[tuple[int, collect.Metrics]]  # (epoch, measures), in the order of the epochs


@dataclass(frozen=True)
class Candidate:
    """A saved epoch of a run.

    Attributes:
        run: the run.
        epoch: how many epochs were done.
        score: the mean over the sets that decide, in percent: of accuracy or mean recall.
    """

    run: StudyRun
    epoch: int
    score: float


def histories(study: Study, out: Path) -> dict[str, History]:
    """What each run's saved epochs measure on the study's sets, by the run's name.

    Args:
        study: the arms with the validation sets.
        out: the folder of the whole run.

    Raises:
        DataError: a file of results is damaged.
    """
    found = {}
    for run in steps.runs(study):
        result = collect.read(study, out, epochs_name(run))
        assert result is not None, "evaluated before"
        found[run.name] = sorted((collect.epoch(name), metrics) for name, metrics in result.by_checkpoint.items())
    return found


def candidates(study: Study, measured: dict[str, History], by: Sequence[str]) -> list[Candidate]:
    """Every saved epoch of every run, with its score.

    Args:
        study: the arms with the validation sets.
        measured: what `histories` gives.
        by: names of the sets whose mean decides.
    """
    measures = [one for one in collect.measures(study) if one.dataset in by]
    return [
        Candidate(run, epoch, statistics.fmean(table[one.dataset][one.key] for one in measures))
        for run in steps.runs(study)
        for epoch, table in measured[run.name]
    ]


def best(some: Iterable[Candidate]) -> Candidate:
    """The one with the highest score; of equal ones the earliest epoch, and then the first arm.

    Raises:
        DataError: no score is a number, so that training must have gone wrong.
    """
    finite = [one for one in some if math.isfinite(one.score)]
    if not finite:
        raise DataError("no saved epoch measures a finite number on the validation sets; try a lower --lr")
    return max(finite, key=lambda one: (one.score, -one.epoch))
