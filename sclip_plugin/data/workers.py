"""What the processes of a DataLoader, and the one they work for, do about signals."""

import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TypeVar

Batch = TypeVar("Batch")

_told: list[RuntimeError] = []  # PyTorch's errors about readers that died, until a batch is asked for


def leave_interrupts_to_the_main_process(_worker: int) -> None:
    """For DataLoader's `worker_init_fn`: Ctrl-C reaches all processes of a terminal, and one of them answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def batches_until_a_death(loader: Iterable[Batch]) -> Iterator[Batch]:
    """The loader's batches; the death of a process that reads is raised here, when its next batch is asked for.

    PyTorch raises it in the handler of a signal, wherever the main process happens to be: in a logger, which prints
    and drops it, or within the report of another error.

    Raises:
        RuntimeError: PyTorch's own, "DataLoader worker (pid …) is killed by signal …".
    """
    batches = iter(loader)
    _keep_deaths()  # PyTorch sets its handler with the first iterator
    _told.clear()  # deaths of other loaders' readers
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except (RuntimeError, OSError, EOFError):
            if _told:
                raise _told.pop() from None
            raise
        yield batch


def _keep_deaths() -> None:
    """Let PyTorch's handler for dead children put its error in `_told`."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        return
    raises = signal.getsignal(signal.SIGCHLD)
    if not callable(raises) or getattr(raises, "of_sclip_plugin", False):
        return

    def handler(number: int, frame: FrameType | None) -> None:
        try:
            raises(number, frame)
        except RuntimeError as error:
            _told.append(error)

    handler.of_sclip_plugin = True  # type: ignore[attr-defined]
    signal.signal(signal.SIGCHLD, handler)
