"""Loader workers: what they do about Ctrl-C, and one clear error where the system killed one.

torch reports a dead worker from the handler of a signal, so that the error may rise anywhere in the main thread, not
only where a batch is asked for.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sclip_plugin.errors import DataError

_DEAD: Final = "DataLoader worker (pid"  # how torch's message begins: "... is killed by signal: Killed."


def leave_interrupts_to_the_main_process(_worker: int) -> None:
    """For DataLoader's `worker_init_fn`: Ctrl-C reaches all processes of a terminal, and one of them answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def watched_workers() -> Iterator[None]:
    """What is done while the workers of a loader are at work.

    Raises:
        DataError: a worker was killed.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith(_DEAD):
            raise
        raise DataError(
            "a data worker was killed (out of memory?); fewer --workers or a smaller --batch-size need less"
        ) from None
