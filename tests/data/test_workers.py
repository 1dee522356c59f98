import logging
import multiprocessing
import os
import signal
import time

import pytest
from torch.utils.data import DataLoader

from sclip_plugin.data import workers
from sclip_plugin.data.workers import batches_until_a_death


@pytest.fixture
def handler():
    """Nothing is told of the readers that die here. The handler stays: PyTorch sets its own once in a process."""
    yield
    workers._told.clear()


class Struck(logging.Handler):
    """A logger that is interrupted by the death of a reader; like all loggers it drops what it fails with."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped: list[RuntimeError] = []

    def emit(self, record: logging.LogRecord) -> None:
        (reader,) = multiprocessing.active_children()
        os.kill(reader.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while not self.dropped and not workers._told and time.monotonic() < deadline:
            try:
                signal.sigtimedwait([signal.SIGUSR1], 0.01)  # a wait in which Python answers signals
            except RuntimeError as error:
                self.dropped.append(error)


def test_a_death_that_a_logger_would_drop_is_raised_with_the_next_batch(handler):
    batches = batches_until_a_death(DataLoader(range(100), num_workers=1, prefetch_factor=1))
    next(batches)
    logger, struck = logging.Logger("struck"), Struck()
    logger.addHandler(struck)
    logger.info("a step")
    assert struck.dropped == []
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid \d+\) is killed by signal: Killed"):
        list(batches)  # what was read before comes first


def test_a_death_in_another_loader_is_not_this_ones(handler):
    batches = batches_until_a_death(DataLoader(range(100), num_workers=1, prefetch_factor=1))
    next(batches)
    logger, struck = logging.Logger("struck"), Struck()
    logger.addHandler(struck)
    logger.info("a step")
    assert workers._told
    assert [int(batch) for batch in batches_until_a_death(DataLoader(range(3)))] == [0, 1, 2]


def test_all_batches_come(handler):
    assert [int(batch) for batch in batches_until_a_death(DataLoader(range(5), num_workers=2))] == list(range(5))
    assert [int(batch) for batch in batches_until_a_death(DataLoader(range(5)))] == list(range(5))
