"""Running a study: data, the start model, every arm with every seed. What is finished is kept."""

import contextlib
import re
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue

from tqdm import tqdm

from sclip_plugin.commands.study import check, steps
from sclip_plugin.commands.study.folder import USAGE, Folder, StepFailed
from sclip_plugin.commands.study.spec import Study
from sclip_plugin.commands.study.steps import Step, StudyRun
from sclip_plugin.locking import locked

END_OF_EPOCH = re.compile(r"Train Epoch: (\d+) .*100%")  # in open_clip's log


class Runner:
    """Runs one study in one folder.

    Args:
        study: what is run.
        out: the study's folder.
        jobs: runs at a time.
        gpus: GPUs by CUDA's number, of which each job sees one; where there are none, each job sees what this process
            sees.
        keep: which checkpoints stay once they are evaluated: `last`, `all` or `none` (`KEEP` of the command).

    Attributes:
        failed: the message of each run that failed, by the run's name.
    """

    def __init__(self, study: Study, out: Path, jobs: int = 1, gpus: tuple[str, ...] = (), keep: str = "last") -> None:
        self.study, self.out, self.jobs, self.keep = study, out, jobs, keep
        self.folder = Folder(out)
        self.failed: dict[str, str] = {}
        self._bar: tqdm | None = None
        self._gpus: SimpleQueue[str | None] = SimpleQueue()
        for number in range(jobs):
            self._gpus.put(gpus[number % len(gpus)] if gpus else None)

    def run(self) -> None:
        """Run everything that is not finished yet. Failed runs are noted, and the others go on.

        Raises:
            StepFailed: a command that makes the data, or one with wrong flags, failed.
            UsageError: an arm's flags cannot work, another process is at work in the folder, or something stands where
                the study would write that it did not make; then nothing has been removed.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        with locked(self.out / ".lock", f"{self.out}: another process is at work on this study"):
            preparation = steps.prepare_steps(self.study)
            self._check_products(preparation)
            for step in preparation:
                self._show_and_run(step)
            check.check_arms(self.study, self.out)
            for step in steps.start_steps(self.study, self.out).values():
                self._show_and_run(step)
            self._train_all()

    def _check_products(self, every: list[Step]) -> None:
        """Refuse products that the study did not make, before any of the steps runs."""
        for step in every:
            if not self.folder.finished(step):
                self.folder.products.check(step)

    def _show_and_run(self, step: Step) -> None:
        self._say(f"$ {step.shown}")
        if self.folder.finished(step):
            self._say(f"(done before; kept: its output is in {self.folder.log(step)})")
        else:
            self.folder.run(step, lambda line: print(line, end="", flush=True))

    def _train_all(self) -> None:
        every = steps.runs(self.study)
        todo = [run for run in every if not self._finished(run)]
        if len(todo) < len(every):
            self._say(f"{len(every) - len(todo)} finished runs are kept")
        self._check_products([steps.train_step(self.study, run, self.out) for run in todo])
        self._check_products([self._evaluation(run, self._files(run)) for run in todo])
        total = sum(steps.epochs(run.arm, self.study.processes) for run in todo)
        with tqdm(total=total, desc="training", unit="epoch", disable=None) as self._bar, self._pool() as pool:
            jobs = [pool.submit(self._one, run) for run in todo]
            for job in wait(jobs, return_when=FIRST_EXCEPTION).done:
                job.result()
        self._bar = None

    @contextlib.contextmanager
    def _pool(self) -> Iterator[ThreadPoolExecutor]:
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

    def _finished(self, run: StudyRun) -> bool:
        files = self._files(run)
        evaluations = (self._evaluation(run, files), self._evaluation(run, files[-1:]))
        trained = self.folder.finished(steps.train_step(self.study, run, self.out))
        return trained and any(self.folder.finished(step) for step in evaluations)

    def _files(self, run: StudyRun) -> list[Path]:
        return [file for _, file in steps.checkpoints(self.study, run, self.out)]

    def _evaluation(self, run: StudyRun, files: list[Path]) -> Step:
        return steps.eval_step(self.study, self.out, run.name, run.arm, files)

    def _one(self, run: StudyRun) -> None:
        """Train and evaluate; a failure is noted, unless the flags are wrong: then all of the seeds would fail."""
        gpu = self._gpus.get()
        try:
            if self.folder.stopped:
                return
            self._train_and_evaluate(run, {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
        except StepFailed as error:
            if error.status == USAGE:
                raise
            if self.folder.stopped:
                return
            self.failed[run.name] = str(error)
            self._say(f"{run.name}: failed: {error}")
        finally:
            self._gpus.put(gpu)

    def _train_and_evaluate(self, run: StudyRun, environment: dict[str, str]) -> None:
        train, files = steps.train_step(self.study, run, self.out), self._files(run)
        start = time.monotonic()
        if not self.folder.finished(train) or not files[-1].exists():
            self._say(f"$ {train.shown}")
            self.folder.forget(self._evaluation(run, files))  # measures of other flags or data must not be reported
            self.folder.run(train, self._count_epochs, environment)
        trained = time.monotonic() - start
        # another evaluation set for a run whose checkpoints between are gone: its last one is evaluated
        files = files if all(file.exists() for file in files) else files[-1:]
        self.folder.run(self._evaluation(run, files), environment=environment)
        unwanted = {"all": [], "last": files[:-1], "none": files}[self.keep]
        for file in unwanted:
            file.unlink()
        self._say(f"{run.name}: trained in {trained:.0f} s, evaluated in {time.monotonic() - start - trained:.0f} s")

    def _count_epochs(self, line: str) -> None:
        if END_OF_EPOCH.search(line) and self._bar is not None:
            self._bar.update()

    def _say(self, text: str) -> None:
        if self._bar is not None:
            tqdm.write(text)
        else:
            print(text, flush=True)
