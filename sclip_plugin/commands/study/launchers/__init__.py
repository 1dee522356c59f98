"""Launchers carry out a study's tasks: `local` in processes of this machine, `slurm` as jobs of a cluster."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from sclip_plugin.commands.study.folder import Folder
from sclip_plugin.commands.study.spec import Study
from sclip_plugin.commands.study.tasks import StartModel, Task, Training


class Launcher(Protocol):
    """Where and when tasks are carried out. The runner calls `check` before anything is changed in the folder."""

    def check(self, study: Study, folder: Folder, preparing: bool) -> None:
        """Look at whether it can work.

        Args:
            study: the study.
            folder: its folder.
            preparing: whether data will be made before.

        Raises:
            UsageError: it cannot.
        """

    def carry_out(self, study: Study, folder: Folder, starts: list[StartModel], runs: list[Training]) -> dict[str, str]:
        """Carry out tasks, and return when all have ended.

        Args:
            study: the study that they belong to.
            folder: its folder.
            starts: evaluations of start models.
            runs: what is to be trained and evaluated.

        Returns:
            The message of each task that failed, by the task's name.
        """

    def plan(self, study: Study, folder: Folder, tasks: list[Task]) -> Iterator[str]:
        """What `carry_out` would do, line by line."""


def commands(tasks: Iterable[Task], folder: Folder) -> Iterator[str]:
    """The commands of tasks that are not finished, below the tasks' names."""
    for task in tasks:
        yield f"{task.name}:"
        yield from (f"  $ {step.shown}" for step in task.steps() if not folder.finished(step))
