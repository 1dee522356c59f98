"""Running a study: its data is made, its arms are checked, and a launcher carries out what is not finished yet."""

from collections.abc import Iterator
from pathlib import Path

from sclip_plugin.commands.study import check, steps, tasks
from sclip_plugin.commands.study.folder import Folder
from sclip_plugin.commands.study.launchers import Launcher
from sclip_plugin.commands.study.spec import Study
from sclip_plugin.commands.study.steps import Step
from sclip_plugin.commands.study.tasks import StartModel, Task, Training
from sclip_plugin.errors import DataError
from sclip_plugin.locking import locked


class Runner:
    """Runs one study in one folder. What is finished is kept.

    Args:
        study: what is run.
        out: the study's folder.
        launcher: what carries out its tasks.
        keep: which checkpoints stay once they are evaluated, `last`, `all` or `none` (`KEEP` of the command).

    Attributes:
        failed: the message of each run that failed, by the run's name.
    """

    def __init__(self, study: Study, out: Path, launcher: Launcher, keep: str = "last") -> None:
        self.study, self.out, self.launcher, self.keep = study, out, launcher, keep
        self.folder = Folder(out)
        self.failed: dict[str, str] = {}

    def run(self) -> None:
        """Run everything that is not finished yet. Failed runs are noted, and the others go on.

        Raises:
            StepFailed: a command that makes the data, or one with wrong flags, failed.
            UsageError: an arm's flags or the launcher's cannot work, another process is at work in the folder, or
                something stands where the study would write that it did not make; then nothing has been removed.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        with locked(self.out / ".lock", f"{self.out}: another process is at work on this study"):
            preparation = steps.prepare_steps(self.study)
            self.launcher.check(self.study, self.folder, self._unprepared() != [])
            self._check_products(preparation)
            for step in preparation:
                self._prepare(step)
            check.check_arms(self.study, self.out)
            self._carry_out()

    def plan(self) -> Iterator[str]:
        """What `run` would do, line by line. Nothing is changed.

        Raises:
            DataError: an arm names shards that are not there, and that no command of the study makes.
        """
        unprepared = self._unprepared()
        for step in unprepared:
            yield f"$ {step.shown}"
        try:
            todo: list[Task] = [*self._starts(), *self._runs()]
        except DataError:
            if not unprepared:
                raise
            yield "and then train and evaluate; these commands can be told once the ones above have made the data"
            return
        yield from self.launcher.plan(self.study, self.folder, todo)

    def _starts(self) -> list[StartModel]:
        every = tasks.start_models(self.study, self.out)
        return [task for task in every if not task.finished(self.folder)]

    def _runs(self) -> list[Training]:
        every = tasks.trainings(self.study, self.out, self.keep)
        return [task for task in every if not task.finished(self.folder)]

    def _unprepared(self) -> list[Step]:
        return [step for step in steps.prepare_steps(self.study) if not self.folder.finished(step)]

    def _check_products(self, every: list[Step]) -> None:
        """Refuse products that the study did not make, before any of the steps runs."""
        for step in every:
            if not self.folder.finished(step):
                self.folder.products.check(step)

    def _prepare(self, step: Step) -> None:
        print(f"$ {step.shown}", flush=True)
        if self.folder.finished(step):
            print(f"(done before; kept: its output is in {self.folder.log(step)})", flush=True)
        else:
            self.folder.run(step, lambda line: print(line, end="", flush=True))

    def _carry_out(self) -> None:
        starts, runs = self._starts(), self._runs()
        todo: list[Task] = [*starts, *runs]
        if kept := len(steps.runs(self.study)) - len(runs):
            print(f"{kept} finished runs are kept", flush=True)
        self._check_products([step for task in todo for step in task.steps()])
        self.failed = self.launcher.carry_out(self.study, self.folder, starts, runs)
