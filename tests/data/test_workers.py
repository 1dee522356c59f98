import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

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


@pytest.fixture
def struck(handler) -> Iterator[Any]:
    """The batches of a loader whose reader has died while a logger wrote; the logger was not disturbed."""
    batches = batches_until_a_death(DataLoader(range(100), num_workers=1, prefetch_factor=1))
    next(batches)
    logger, blow = logging.Logger("struck"), Struck()
    logger.addHandler(blow)
    logger.info("a step")
    assert workers._told
    assert blow.dropped == []
    return batches


def test_a_death_that_a_logger_would_drop_is_raised_with_the_next_batch(struck):
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid \d+\) is killed by signal: Killed"):
        list(struck)  # what was read before comes first


class Faulty:
    """Two samples, of which the second cannot be read."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> int:
        if number:
            raise RuntimeError("its own fault")
        return number


def test_a_death_in_another_loader_is_not_this_ones(struck):
    batches = batches_until_a_death(DataLoader(Faulty()))
    assert int(next(batches)) == 0
    with pytest.raises(RuntimeError, match="its own fault"):
        next(batches)


def test_all_batches_come(handler):
    assert [int(batch) for batch in batches_until_a_death(DataLoader(range(5), num_workers=2))] == list(range(5))
    assert [int(batch) for batch in batches_until_a_death(DataLoader(range(5)))] == list(range(5))
