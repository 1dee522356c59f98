"""Tasks as jobs of a Slurm cluster, submitted as one array through submitit.

Which job does which task is kept in the study's folder, so that a later call waits for the same jobs. Whether a task is
done is read from the study's folder too, where its job writes what a process of this machine would have written.
"""

import shlex
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Final

from tqdm import tqdm

from sclip_plugin.commands.study.folder import Folder
from sclip_plugin.commands.study.launchers import commands
from sclip_plugin.commands.study.launchers.job_list import JobList, Submitted, commands_key
from sclip_plugin.commands.study.launchers.slurm_job import SlurmJob
from sclip_plugin.commands.study.launchers.slurm_queue import queued
from sclip_plugin.commands.study.launchers.slurm_settings import SlurmSettings
from sclip_plugin.commands.study.spec import Study
from sclip_plugin.commands.study.tasks import StartModel, Task, Training
from sclip_plugin.errors import DataError, UsageError

if TYPE_CHECKING:
    import submitit

NEEDED: Final = ("sbatch", "srun", "squeue", "scancel")
JOBS: Final = "slurm"  # in the study's folder: submitit's files, the logs of jobs among them
SECONDS: Final = 15.0  # between two looks at the queue; ours


class Slurm:
    """Carries out tasks as jobs.

    Args:
        settings: what is asked of Slurm for each job.
    """

    def __init__(self, settings: SlurmSettings) -> None:
        self.settings = settings

    def check(self, study: Study, folder: Folder, preparing: bool) -> None:
        """Refuse to begin without Slurm or submitit, and to make data anew that jobs read; raises `UsageError`."""
        _require_submitit()
        if missing := [name for name in NEEDED if shutil.which(name) is None]:
            raise UsageError(f"--launcher slurm: no {missing[0]} here; call it where jobs can be submitted")
        self.settings.check(study)
        ids = JobList(folder.root).ids()
        if preparing and ids:
            raise UsageError(
                f"{folder.root}: jobs {', '.join(ids)} may read what the study would make anew; cancel them "
                f"(scancel {' '.join(ids)}) and remove {JobList(folder.root).path}"
            )

    def carry_out(self, study: Study, folder: Folder, starts: list[StartModel], runs: list[Training]) -> dict[str, str]:
        """Submit what no job is at work on, and wait for all.

        Args:
            study: the study that they belong to.
            folder: its folder.
            starts: evaluations of start models.
            runs: what is to be trained and evaluated.

        Returns:
            The message of each task that failed, by the task's name.

        Raises:
            UsageError: a job is at work on a task with other flags.
            DataError: Slurm refused the jobs, or does not answer.
        """
        every: list[Task] = [*starts, *runs]
        tasks = {task.name: task for task in every}
        known = JobList(folder.root)
        waiting = _attached(known, tasks)
        if waiting:
            print(f"{len(waiting)} jobs of an earlier call go on: {', '.join(_ids(waiting))}", flush=True)
        new = [task for name, task in tasks.items() if name not in waiting]
        if new:
            submitted = self._submit(study, folder, new)
            known.add(submitted)
            waiting |= submitted
            print(f"{len(new)} jobs submitted: {', '.join(_ids(submitted))}", flush=True)
        with _left_alone(known):
            return _Wait(folder, known, tasks).until_ended(waiting)

    def plan(self, study: Study, folder: Folder, tasks: list[Task]) -> Iterator[str]:
        """What `carry_out` would do, line by line."""
        self.settings.check(study)
        known = JobList(folder.root).jobs
        yield from (f"{name}: submitted before, job {known[name].job}" for name in known)
        new = [task for task in tasks if task.name not in known]
        if new:
            yield f"would submit {len(new)} jobs:"
            yield from _script(self.settings.parameters(study))
            yield from commands(new, folder)

    def _submit(self, study: Study, folder: Folder, tasks: list[Task]) -> dict[str, Submitted]:
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        executor = submitit.SlurmExecutor(folder=folder.root / JOBS)
        executor.update_parameters(**self.settings.parameters(study))
        work = [SlurmJob(task, folder.root, Path.cwd()) for task in tasks]
        try:
            jobs = executor.submit_array(work)
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            raise DataError(f"sbatch: {_last_line(str(error))}") from None
        return {task.name: Submitted(job.job_id, commands_key(task)) for task, job in zip(tasks, jobs)}


def _attached(known: JobList, tasks: dict[str, Task]) -> dict[str, Submitted]:
    """The tasks that jobs of an earlier call are at work on; the others' jobs are dropped from the list."""
    if not known.jobs:
        return {}
    queue = queued()
    found = {}
    for name, submitted in list(known.jobs.items()):
        if submitted.job not in queue:
            known.drop(name)
        elif name in tasks:
            if submitted.commands != commands_key(tasks[name]):
                raise UsageError(
                    f"{name}: job {submitted.job} is at work on it with other flags; cancel it "
                    f"(scancel {submitted.job}), or call the study as it was when the job was submitted"
                )
            found[name] = submitted
    return found


@contextmanager
def _left_alone(known: JobList) -> Iterator[None]:
    """While jobs are waited for: an interruption leaves them at work, and says how to come back and how to end them."""
    try:
        yield
    except KeyboardInterrupt:
        print(
            f"{len(known.jobs)} jobs go on without this command. Call it again to wait for them, or cancel them: "
            f"scancel {' '.join(known.ids())}",
            flush=True,
        )
        raise


class _Wait:
    """Waits for the jobs of tasks.

    A job has ended once it has left the queue. What it wrote may be seen here a little later (shared folders), so that
    it counts as failed only if it is not in the queue at two looks one after the other.
    """

    def __init__(self, folder: Folder, known: JobList, tasks: dict[str, Task]) -> None:
        self.folder, self.known, self.tasks = folder, known, tasks
        self.failed: dict[str, str] = {}
        self.gone: set[str] = set()

    def until_ended(self, waiting: dict[str, Submitted]) -> dict[str, str]:
        """Returns the message of each task that failed."""
        left = {name: _job(self.folder, submitted) for name, submitted in waiting.items()}
        with tqdm(total=len(left), desc="runs", unit="run", disable=None) as bar:
            while left:
                for name in self._ended(left, self._look(left, bar)):
                    del left[name]
                    self.known.drop(name)
                    bar.update()
                if left:
                    sleep(SECONDS)
        return self.failed

    def _look(self, left: dict[str, "submitit.SlurmJob[str]"], bar: tqdm) -> dict[str, str] | None:
        """The queue; None where Slurm does not answer, as happens for a while on a busy cluster."""
        try:
            queue = queued()
        except DataError as error:
            bar.set_postfix_str(f"{error}; asking again")
            return None
        states = Counter(queue[job.job_id].lower() for job in left.values() if job.job_id in queue)
        bar.set_postfix_str(", ".join(f"{number} {state}" for state, number in sorted(states.items())))
        return queue

    def _ended(self, left: dict[str, "submitit.SlurmJob[str]"], queue: dict[str, str] | None) -> Iterator[str]:
        for name, job in list(left.items()):
            queued_still = queue is None or job.job_id in queue
            if queued_still:
                self.gone.discard(name)
            if queued_still and not job.paths.result_pickle.exists():
                continue
            if self.tasks[name].finished(self.folder):
                tqdm.write(f"{name}: done (job {job.job_id})")
                yield name
            elif queued_still:  # it failed, or is preempted and will be at work again
                continue
            elif name not in self.gone:
                self.gone.add(name)
            else:
                self.failed[name] = failure(job)
                tqdm.write(f"{name}: failed: {self.failed[name]}")
                yield name


def failure(job: "submitit.SlurmJob[str]") -> str:
    """Why an ended job has not done its task, in a line that names a log.

    Args:
        job: a job that is no longer in the queue.
    """
    from submitit.core.utils import UncompletedJobError

    logs = [path for path in (job.paths.stderr, job.paths.stdout) if path.exists() and path.stat().st_size]
    see = f"see {logs[0] if logs else job.paths.folder}"
    if not job.paths.result_pickle.exists():
        state = job.get_info(mode="force").get("State") or "unknown"
        return f"job {job.job_id} ended before its work was done (Slurm's state: {state}); {see}"
    try:
        said = job.result()
    except UncompletedJobError as error:
        return f"job {job.job_id}: {_last_line(str(error).partition('-' * 22 + chr(10) + 'You can')[0])}; {see}"
    return f"job {job.job_id}: {said or 'its work is not done any more: inputs have changed since'}"


def _require_submitit() -> None:
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UsageError("--launcher slurm needs submitit: pip install 'sclip-plugin[slurm]'") from None


def _job(folder: Folder, submitted: Submitted) -> "submitit.SlurmJob[str]":
    import submitit

    return submitit.SlurmJob(folder=folder.root / JOBS, job_id=submitted.job)


def _ids(jobs: dict[str, Submitted]) -> list[str]:
    return list(dict.fromkeys(one.job.partition("_")[0] for one in jobs.values()))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"


def _script(parameters: Mapping[str, object]) -> Iterator[str]:
    """What the parameters add to a batch script, line by line."""
    for name, value in parameters.items():
        if name == "additional_parameters" and isinstance(value, dict):
            yield from _script(value)
        elif isinstance(value, list):
            yield from (f"  {name}: {text}" for text in value)
        elif name == "array_parallelism":
            yield f"  #SBATCH --array=…%{value}"
        elif name == "signal_delay_s":
            yield f"  #SBATCH --signal=…@{value}"
        else:
            yield f"  #SBATCH --{name.replace('_', '-')}" + ("" if value is True else f"={shlex.quote(str(value))}")
