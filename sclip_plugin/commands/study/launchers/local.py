"""Tasks as processes of this machine, several at a time, each on a GPU of its own."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from queue import SimpleQueue

from tqdm import tqdm

from sclip_plugin.commands.study import steps
from sclip_plugin.commands.study.folder import USAGE, Folder, StepFailed
from sclip_plugin.commands.study.launchers import commands
from sclip_plugin.commands.study.launchers.job_list import JobList
from sclip_plugin.commands.study.spec import Study
from sclip_plugin.commands.study.tasks import END_OF_EPOCH, Hearer, StartModel, Task, Training
from sclip_plugin.errors import UsageError


class Local:
    """Carries out tasks on this machine.

    Args:
        jobs: runs at a time.
        gpus: GPUs by CUDA's number, of which each job sees one; where there are none, each job sees what this process
            sees.
    """

    def __init__(self, jobs: int = 1, gpus: tuple[str, ...] = ()) -> None:
        self.jobs, self.gpus = jobs, gpus

    def check(self, study: Study, folder: Folder, preparing: bool) -> None:
        """Refuse to work in a folder in which jobs of a cluster may be at work; raises `UsageError`."""
        known = JobList(folder.root)
        if ids := known.ids():
            raise UsageError(
                f"{folder.root}: jobs {', '.join(ids)} may be at work on this study; wait for them with --launcher "
                f"slurm, or cancel them (scancel {' '.join(ids)}) and remove {known.path}"
            )

    def carry_out(self, study: Study, folder: Folder, starts: list[StartModel], runs: list[Training]) -> dict[str, str]:
        """Carry out tasks: start models one after the other, with their output shown, then runs side by side.

        Args:
            study: the study that they belong to.
            folder: its folder.
            starts: evaluations of start models.
            runs: what is to be trained and evaluated.

        Returns:
            The message of each run that failed, by its name.

        Raises:
            StepFailed: a start model could not be evaluated, or flags are wrong: then all runs would fail.
        """
        for start in starts:
            start.carry_out(folder, Hearer(_print, lambda line: print(line, end="", flush=True)))
        total = sum(steps.epochs(task.run.arm, study.processes) for task in runs)
        with tqdm(total=total, desc="training", unit="epoch", disable=None) as bar:
            return _Pool(folder, self.jobs, self.gpus, bar).carry_out(runs)

    def plan(self, study: Study, folder: Folder, tasks: list[Task]) -> Iterator[str]:
        """What `carry_out` would do, line by line."""
        yield f"would run on this machine, {self.jobs} at a time:"
        yield from commands(tasks, folder)


def _print(text: str) -> None:
    print(text, flush=True)


class _Pool:
    """Runs side by side, with one bar for the epochs of all."""

    def __init__(self, folder: Folder, jobs: int, gpus: tuple[str, ...], bar: tqdm) -> None:
        self.folder, self.jobs, self.bar = folder, jobs, bar
        self.failed: dict[str, str] = {}
        self.hearer = Hearer(tqdm.write, self._count_epochs)
        self.gpus: SimpleQueue[str | None] = SimpleQueue()
        for number in range(jobs):
            self.gpus.put(gpus[number % len(gpus)] if gpus else None)

    def carry_out(self, runs: list[Training]) -> dict[str, str]:
        with self._threads() as pool:
            jobs = [pool.submit(self._one, run) for run in runs]
            for job in wait(jobs, return_when=FIRST_EXCEPTION).done:
                job.result()
        return self.failed

    @contextlib.contextmanager
    def _threads(self) -> Iterator[ThreadPoolExecutor]:
        """A pool of threads. On any error, and on an interruption, what runs is ended and what waits is dropped."""
        pool = ThreadPoolExecutor(self.jobs)
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            self.folder.stop()
            raise
        finally:
            pool.shutdown()

    def _one(self, run: Training) -> None:
        """One run; its failure is noted, unless the flags are wrong: then all of the seeds would fail."""
        gpu = self.gpus.get()
        try:
            if self.folder.stopped:
                return
            run.carry_out(self.folder, self.hearer, {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
        except StepFailed as error:
            if error.status == USAGE:
                raise
            if self.folder.stopped:
                return
            self.failed[run.name] = str(error)
            self.hearer.say(f"{run.name}: failed: {error}")
        finally:
            self.gpus.put(gpu)

    def _count_epochs(self, line: str) -> None:
        if END_OF_EPOCH.search(line):
            self.bar.update()
