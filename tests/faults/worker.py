"""A process in which tries run, so that one that kills or hangs it is a failure and not the end."""

import contextlib
import multiprocessing
import resource
import shutil
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

from tests.faults.call import LAST
from tests.faults.trial import Bench, Verdict

MEMORY = 4 << 30  # bytes that a command may take; a number in a file must not fill the machine


def _serve(pipe: Connection, root: str, keep: str | None) -> None:
    import os

    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    import open_clip  # noqa: F401  (some seconds, which no try is to pay for)

    bench = Bench(Path(root), Path(keep) if keep else None)
    while (order := pipe.recv()) is not None:
        pipe.send(bench.run(*order))


class Worker:
    """Runs tries in a process of its own, which is started again where it was lost.

    Args:
        keep: folder for the work folders of failures; None: they are not kept.
    """

    def __init__(self, keep: Path | None = None) -> None:
        self.keep = keep
        self._root = tempfile.mkdtemp(prefix="sclip-faults-")
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def run(self, name: str, seed: int, number: int) -> Verdict:
        """The verdict on one try; what takes too long gets a second chance, since the machine may be busy."""
        found = self._run(name, seed, number)
        return self._run(name, seed, number) if "time-out" in found.said else found

    def _run(self, name: str, seed: int, number: int) -> Verdict:
        if self._pipe is None:
            self._start()
        assert self._pipe is not None
        try:
            self._pipe.send((name, seed, number))
            if self._pipe.poll(LAST + 60):
                found: Verdict = self._pipe.recv()
                if "time-out" in found.said:  # threads of it may still run
                    self._stop()
                return found
            what = "hangs in native code"
        except (EOFError, OSError):
            what = "the process died"
        what += f" (exit status {self._stop()})"
        return Verdict(name, number, "refused", [what], [], "see the command", 0.0, what)

    def close(self) -> None:
        """End the process and remove its folder."""
        self._stop()
        shutil.rmtree(self._root, ignore_errors=True)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(other, self._root, str(self.keep) if self.keep else None), daemon=True
        )
        self._process.start()
        other.close()

    def _stop(self) -> int | None:
        if self._process is None:
            return None
        with contextlib.suppress(OSError):
            if self._pipe is not None:
                self._pipe.send(None)
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        status, self._process, self._pipe = self._process.exitcode, None, None
        return status
