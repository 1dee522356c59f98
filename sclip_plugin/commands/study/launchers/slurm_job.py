"""What a job of the cluster runs: one task of a study, which goes on where an earlier job was ended."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sclip_plugin.commands.study.folder import Folder, StepFailed
from sclip_plugin.commands.study.tasks import Hearer, Task
from sclip_plugin.errors import SClipError
from sclip_plugin.locking import locked

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission


@dataclass(frozen=True)
class SlurmJob:
    """A task, ready to be pickled and called in a job.

    Attributes:
        task: what is done.
        out: the study's folder, which all machines of the cluster see.
        place: the folder to which relative paths of the study refer.
    """

    task: Task
    out: Path
    place: Path

    def __call__(self) -> str:
        """Carry the task out.

        Returns:
            The message of its failure; "" where it has been done.

        Raises:
            SystemExit: a signal ended its command, which is the cluster's doing: the job ends without a result, and
                what became of it is for the cluster to say.
        """
        os.chdir(self.place)
        name = self.task.name
        try:
            with locked(self.out / "begun" / f"{name}.lock", f"{name}: another job is at work on it"):
                self.task.carry_out(Folder(self.out, resume=True), Hearer(_say))
        except StepFailed as error:
            if error.status < 0:
                raise SystemExit(str(error)) from None
            return str(error)
        except (SClipError, OSError) as error:
            return str(error)
        return ""

    def checkpoint(self) -> "DelayedSubmission":
        """What the job is put back into the queue with before its time limit, and when it is preempted: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _say(text: str) -> None:
    print(text, flush=True)
