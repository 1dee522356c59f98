"""The tasks of a study, which do not wait for one another: to evaluate a start model; to train and evaluate a run.

A task knows how it is done, and not where: a launcher (`launchers/`) carries tasks out here, or has a batch system do
it. Tasks can be pickled.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sclip_plugin.commands.study import steps
from sclip_plugin.commands.study.folder import Folder
from sclip_plugin.commands.study.spec import Study
from sclip_plugin.commands.study.steps import Step, StudyRun

END_OF_EPOCH: Final = re.compile(r"Train Epoch: (\d+) .*100%")  # in open_clip's log


@dataclass(frozen=True)
class Hearer:
    """Who is told how a task goes.

    Attributes:
        say: gets each message for the user.
        each_line: gets each line of training's output.
    """

    say: Callable[[str], object]
    each_line: Callable[[str], object] = lambda line: None


class Task(Protocol):
    """What a launcher carries out."""

    @property
    def name(self) -> str:
        """Names its results."""

    def steps(self) -> list[Step]:
        """Its commands, in order."""

    def finished(self, folder: Folder) -> bool:
        """True where nothing is left to do."""

    def carry_out(self, folder: Folder, hearer: Hearer, environment: dict[str, str] | None = None) -> None:
        """Do it; raises `StepFailed` where one of its commands failed."""


@dataclass(frozen=True)
class StartModel:
    """The evaluation of a start model.

    Attributes:
        step: its command.
    """

    step: Step

    @property
    def name(self) -> str:
        """Names its results."""
        return self.step.name.removeprefix("eval-")

    def steps(self) -> list[Step]:
        """Its one command."""
        return [self.step]

    def finished(self, folder: Folder) -> bool:
        """True where it has been evaluated."""
        return folder.finished(self.step)

    def carry_out(self, folder: Folder, hearer: Hearer, environment: dict[str, str] | None = None) -> None:
        """Evaluate it; raises `StepFailed`."""
        hearer.say(f"$ {self.step.shown}")
        folder.run(self.step, hearer.each_line, environment)


@dataclass(frozen=True)
class Training:
    """One run of a study: its training, then its evaluation.

    Attributes:
        study: the study.
        run: which of its runs.
        out: the study's folder.
        keep: which checkpoints stay once they are evaluated: `last`, `all` or `none` (`KEEP` of the command).
    """

    study: Study
    run: StudyRun
    out: Path
    keep: str = "last"

    @property
    def name(self) -> str:
        """Names its folder and its results."""
        return self.run.name

    @property
    def train(self) -> Step:
        """The training."""
        return steps.train_step(self.study, self.run, self.out)

    @property
    def files(self) -> list[Path]:
        """The checkpoints that are evaluated."""
        return [file for _, file in steps.checkpoints(self.study, self.run, self.out)]

    def evaluation(self, files: list[Path]) -> Step:
        """The evaluation of some of its checkpoints."""
        return steps.eval_step(self.study, self.out, self.run.name, self.run.arm, files)

    def steps(self) -> list[Step]:
        """Training and evaluation."""
        return [self.train, self.evaluation(self.files)]

    def finished(self, folder: Folder) -> bool:
        """True where it is trained, and all of its checkpoints or the last one are evaluated."""
        files = self.files
        evaluations = (self.evaluation(files), self.evaluation(files[-1:]))
        return folder.finished(self.train) and any(folder.finished(step) for step in evaluations)

    def carry_out(self, folder: Folder, hearer: Hearer, environment: dict[str, str] | None = None) -> None:
        """Train and evaluate, and remove the checkpoints that nobody wants; raises `StepFailed`."""
        train, files = self.train, self.files
        start = time.monotonic()
        if not folder.finished(train) or not files[-1].exists():
            hearer.say(f"$ {train.shown}")
            folder.forget(self.evaluation(files))  # measures of other flags or data must not be reported
            folder.run(train, hearer.each_line, environment)
        trained = time.monotonic() - start
        # another evaluation set for a run whose checkpoints between are gone: its last one is evaluated
        files = files if all(file.exists() for file in files) else files[-1:]
        folder.run(self.evaluation(files), environment=environment)
        unwanted = {"all": [], "last": files[:-1], "none": files}[self.keep]
        for file in [*unwanted, *([train.resume.state] if train.resume else [])]:
            file.unlink(missing_ok=True)
        evaluated = time.monotonic() - start - trained
        hearer.say(f"{self.name}: trained in {trained:.0f} s, evaluated in {evaluated:.0f} s")


def start_models(study: Study, out: Path) -> list[StartModel]:
    """The evaluations of the models that arms start from."""
    return [StartModel(step) for step in steps.start_steps(study, out).values()]


def trainings(study: Study, out: Path, keep: str) -> list[Training]:
    """The study's runs, seed by seed."""
    return [Training(study, run, out, keep) for run in steps.runs(study)]
