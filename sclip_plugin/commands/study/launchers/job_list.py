"""Which tasks of a study are with a cluster, by which jobs: `jobs.json` in the study's folder."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from sclip_plugin.atomic import write_atomic
from sclip_plugin.commands.study.tasks import Task
from sclip_plugin.errors import DataError

FILE: Final = "jobs.json"


@dataclass(frozen=True)
class Submitted:
    """A task's job.

    Attributes:
        job: the cluster's identifier of it; that of an array's element is `ARRAY_INDEX`.
        commands: what tells the commands that it runs from others.
    """

    job: str
    commands: str


class JobList:
    """The jobs of a study that were not seen to end.

    Args:
        root: the study's folder.

    Attributes:
        path: the file that keeps them.
        jobs: the job of each task by the task's name.

    Raises:
        DataError: the file is damaged.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / FILE
        self.jobs = self._read()

    def _read(self) -> dict[str, Submitted]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            return {name: Submitted(str(one["job"]), str(one["commands"])) for name, one in found.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            raise DataError(f"{self.path}: damaged; see by squeue which jobs of yours run, and remove it") from None

    def ids(self) -> list[str]:
        """What the cluster is given to cancel them all: a number for each array, and for each job outside of one."""
        return list(dict.fromkeys(one.job.partition("_")[0] for one in self.jobs.values()))

    def add(self, jobs: dict[str, Submitted]) -> None:
        """Note jobs, by the names of their tasks."""
        self._write({**self.jobs, **jobs})

    def drop(self, name: str) -> None:
        """Note that a task's job has ended."""
        self._write({other: job for other, job in self.jobs.items() if other != name})

    def _write(self, jobs: dict[str, Submitted]) -> None:
        self.jobs = jobs
        if jobs:
            write_atomic(self.path, json.dumps({name: asdict(one) for name, one in jobs.items()}, indent=1) + "\n")
        else:
            self.path.unlink(missing_ok=True)


def commands_key(task: Task) -> str:
    """A short text that changes with a task's commands."""
    words = [step.command for step in task.steps()]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]
