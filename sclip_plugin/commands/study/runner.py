"""Running a study: data, the start model, every arm with every seed; what is finished is kept."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue

from tqdm import tqdm

from sclip_plugin.commands.study import check, plan
from sclip_plugin.commands.study.spec import Study
from sclip_plugin.commands.study.steps import EPOCH, USAGE, Folder, Step, StepFailed
from sclip_plugin.errors import UsageError
from sclip_plugin.evaluation.models import WEIGHTS

KEEP = ("last", "all", "none")


class Runner:
    """One study in one folder.

    Args:
        jobs: runs at a time. gpus: shown to one job each, by CUDA's number; empty: as they are.
        keep: which checkpoints stay once they are evaluated, one of `KEEP`.
    """

    def __init__(self, study: Study, out: Path, jobs: int = 1, gpus: tuple[str, ...] = (), keep: str = "last"):
        self.study, self.out, self.jobs, self.keep = study, out, jobs, keep
        self.folder = Folder(out)
        self.failed: dict[str, str] = {}  # run → message
        self.bar: tqdm | None = None
        self._gpus: SimpleQueue = SimpleQueue()
        for number in range(jobs):
            self._gpus.put(gpus[number % len(gpus)] if gpus else None)

    def run(self) -> None:
        """Everything that is not finished yet. Failed runs are noted and the others go on.

        Raises:
            StepFailed: a command that makes the data, or one with wrong flags, failed.
            UsageError: an arm's flags cannot work; another process is at work in the folder.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        with _locked(self.out):
            for step in plan.prepare_steps(self.study):
                self._show_and_run(step)
            check.check_arms(self.study, self.out)
            for step in start_steps(self.study, self.out).values():
                self._show_and_run(step)
            self._train_all()

    def _show_and_run(self, step: Step) -> None:
        self._say(f"$ {step.shown}")
        if self.folder.finished(step):
            return self._say(f"(done before; kept: its output is in {self.folder.log(step)})")
        self.folder.run(step, lambda line: print(line, end="", flush=True))

    def _train_all(self) -> None:
        todo = [run for run in plan.runs(self.study) if not self._finished(run)]
        kept = len(plan.runs(self.study)) - len(todo)
        if kept:
            self._say(f"{kept} finished runs are kept")
        total = sum(plan.epochs(run.arm, self.study.processes) for run in todo)
        with tqdm(total=total, desc="training", unit="epoch", disable=None) as self.bar, self._pool() as pool:
            jobs = [pool.submit(self._one, run) for run in todo]
            for job in wait(jobs, return_when=FIRST_EXCEPTION).done:
                job.result()
        self.bar = None

    @contextlib.contextmanager
    def _pool(self) -> Iterator[ThreadPoolExecutor]:
        """On any error, and on an interruption, what runs is ended and what waits is dropped."""
        pool = ThreadPoolExecutor(self.jobs)
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            self.folder.stop()
            raise
        finally:
            pool.shutdown()

    def _finished(self, run: plan.Run) -> bool:
        files = self._files(run)
        evaluations = (self._evaluation(run, files), self._evaluation(run, files[-1:]))
        trained = self.folder.finished(plan.train_step(self.study, run, self.out))
        return trained and any(self.folder.finished(step) for step in evaluations)

    def _files(self, run: plan.Run) -> list[Path]:
        return [file for _, file in plan.checkpoints(self.study, run, self.out)]

    def _evaluation(self, run: plan.Run, files: list[Path]) -> Step:
        return plan.eval_step(self.study, self.out, run.name, run.arm, files)

    def _one(self, run: plan.Run) -> None:
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

    def _train_and_evaluate(self, run: plan.Run, environment: dict[str, str]) -> None:
        train, files = plan.train_step(self.study, run, self.out), self._files(run)
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
        if EPOCH.search(line) and self.bar is not None:
            self.bar.update()

    def _say(self, text: str) -> None:
        tqdm.write(text) if self.bar is not None else print(text, flush=True)


def start_steps(study: Study, out: Path) -> dict[tuple[str, ...], Step]:
    """Evaluations of the start models; one for each model that the arms start from."""
    found: dict[tuple[str, ...], Step] = {}
    for arm in study.arms.values():
        key = (str(arm.flags["model"]), str(arm.flags.get("pretrained", "")))
        if key not in found and has_weights(arm):
            name = plan.START if not found else f"{plan.START}-{len(found) + 1}"
            found[key] = plan.eval_step(study, out, name, arm, [])
    return found


def has_weights(arm) -> bool:
    """False where training begins from random weights."""
    model = str(arm.flags["model"])
    folder = Path(model.removeprefix("local-dir:"))
    local = model.startswith("local-dir:") and any(any(folder.glob(pattern)) for pattern in WEIGHTS)
    return bool(arm.flags.get("pretrained")) or model.startswith("hf-hub:") or local


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises UsageError where another process holds the folder."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    with open(folder / ".lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"{folder}: another process is at work on this study") from None
        yield
