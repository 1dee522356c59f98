"""A study's folder: running a step in it so that a second call goes on where one stopped.

logs/NAME.log       a step's output
begun/NAME.json     what a step made or was making, see `products.py`; beside it, in NAME.words.json, by which words and
                    on which inputs
done/NAME.json      a step's marker: it has been run to its end, by which words and on which inputs
runs/, results/     what training and evaluation wrote
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TextIO

from sclip_plugin.atomic import write_atomic
from sclip_plugin.commands.study.fingerprint import fingerprint
from sclip_plugin.commands.study.products import Products
from sclip_plugin.commands.study.steps import Step
from sclip_plugin.errors import DataError, SClipError
from sclip_plugin.shards.report import IN_STUDY

USAGE: Final = 2  # exit status of wrong flags


class StepFailed(SClipError):
    """A command ended with an error.

    Attributes:
        status: its exit status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Folder:
    """A study's folder: its markers and logs, and the processes that work in it.

    Args:
        root: the folder; it is made when the first step runs.
        resume: whether steps that can (`Step.resume`) keep their state while they run, and go on where they were ended.

    Attributes:
        products: what its steps made.
        stopped: True once `stop` has been called.
    """

    def __init__(self, root: Path, resume: bool = False) -> None:
        self.root, self.resume = root, resume
        self.products = Products(root)
        self._running: set[subprocess.Popen[str]] = set()
        self.stopped = False

    def log(self, step: Step) -> Path:
        """The file for a step's output."""
        return self.root / "logs" / f"{step.name}.log"

    def marker(self, step: Step) -> Path:
        """The file that exists once a step has been run to its end."""
        return self._marker(step.name)

    def _marker(self, name: str) -> Path:
        return self.root / "done" / f"{name}.json"

    def finished(self, step: Step) -> bool:
        """True where the step has been run to its end, with the same words on the same inputs."""
        found = self._read(step.name)
        if not all(product.exists() for product in step.products):
            return False
        return {key: found.get(key) for key in ("command", "inputs")} == description(step)

    def begun(self, step: Step) -> bool:
        """True where the step was begun last with the same words on the same inputs, however it ended."""
        return _read(self._begun(step)) == description(step)

    def _begun(self, step: Step) -> Path:
        return self.root / "begun" / f"{step.name}.words.json"

    def _read(self, name: str) -> dict[str, Any]:
        return _read(self._marker(name))

    def forget(self, step: Step) -> None:
        """Remove a step's marker and what it wrote.

        Raises:
            UsageError: a product is there that the study did not make; then nothing has been removed.
        """
        self._make_room(step)

    def _make_room(self, step: Step, leave_products: bool = False) -> None:
        self.products.check(step)
        self.marker(step).unlink(missing_ok=True)
        if not leave_products:
            self._begun(step).unlink(missing_ok=True)
            self.products.remove(step)

    def seconds(self, name: str) -> float | None:
        """How long the step of that name ran; None where it is not finished, or was done in several parts."""
        found = self._read(name).get("seconds")
        return found if isinstance(found, int | float) else None

    def run(
        self,
        step: Step,
        each_line: Callable[[str], object] = lambda line: None,
        environment: dict[str, str] | None = None,
        go_on: bool = False,
    ) -> None:
        """Run a command; its marker appears when it has ended well.

        Args:
            step: the command.
            each_line: gets each line of its output, which goes to its log too.
            environment: variables beside those of this process.
            go_on: leave the products there, from which the command goes on, or which it replaces, by itself.

        Raises:
            StepFailed: it ended with an error or without a product; the message names the log.
            UsageError: a product is there that the study did not make; then nothing has been removed.
            DataError: its log cannot be written.
        """
        goes_on = go_on or self._resumes(step)
        self._make_room(step, leave_products=goes_on)
        start, log = time.monotonic(), self.log(step)
        log.parent.mkdir(parents=True, exist_ok=True)
        self.products.begin(step)
        write_atomic(self._begun(step), json.dumps(description(step), indent=1) + "\n")
        try:
            with open(log, "a" if goes_on else "w", encoding="utf-8") as file:
                status = self._run(step, file, each_line, environment or {})
        except BrokenPipeError:
            raise
        except OSError as error:  # the command has been ended; a full disk, say
            raise DataError(f"{log}: {error.strerror or error}") from None
        finally:
            self.products.end(step)
        if status:
            said = _last_words(log)
            raise StepFailed(f"`{step.shown}` ended with status {status}: {said}; see {log}", status)
        for product in step.products:
            if not product.exists():
                raise StepFailed(f"`{step.shown}` ended without writing {product}; see {log}", status)
        seconds = None if goes_on else round(time.monotonic() - start, 1)
        done = {**description(step), "seconds": seconds}
        write_atomic(self.marker(step), json.dumps(done, indent=1) + "\n")

    def _resumes(self, step: Step) -> bool:
        """True where a step that can go on was ended, with the same words on the same inputs, and left a state."""
        if not self.resume or step.resume is None or not step.resume.state.exists() or self.finished(step):
            return False
        return self.begun(step)

    def stop(self) -> None:
        """End what runs, and let nothing more begin."""
        self.stopped = True
        for process in list(self._running):
            process.terminate()

    def _run(self, step: Step, log: TextIO, each_line: Callable[[str], object], environment: dict[str, str]) -> int:
        threads = {"OMP_NUM_THREADS": str(step.threads)} if step.threads else {}
        process = subprocess.Popen(
            [*step.argv, *(step.resume.words if self.resume and step.resume else ())],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, IN_STUDY: "1", **threads, **environment},
            preexec_fn=_child_of_study(),
        )
        assert process.stdout is not None  # a pipe was asked for
        self._running.add(process)
        try:
            if self.stopped:
                process.terminate()
            for line in process.stdout:
                log.write(line)
                log.flush()
                each_line(line)
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            self._running.discard(process)


def _read(path: Path) -> dict[str, Any]:
    """A marker; {} where there is none, and of a damaged one, which is as good as none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def description(step: Step) -> dict[str, object]:
    """What a step is known by: its words, and the fingerprints of its inputs."""
    inputs = {text: fingerprint(text) for text in step.inputs}
    return {"command": list(step.command), "inputs": {text: found for text, found in inputs.items() if found}}


def _last_words(log: Path) -> str:
    """The log's last line that is not blank."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no output"


def _child_of_study() -> Callable[[], object] | None:
    """On Linux, a function that readies a child process: it ends when the study's process is killed.

    A batch system warns all processes of a job by SIGUSR2, which ends a process that knows nothing of it. The study's
    own process answers it, and the child goes on until it is told to end.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork

    def ready() -> None:
        prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    return ready
