"""A short run of the fuzzer, the same tries each time; `make fuzz` runs more of them, with another seed each time."""

from collections.abc import Iterator

import pytest

from tests.faults.__main__ import describe, shares
from tests.faults.families import FAMILIES
from tests.faults.worker import Worker

SEED, TRIES = 15, 230
COUNTS = shares(TRIES, list(FAMILIES))

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_lost_or_silent_and_there_is_no_traceback(family: str, worker: Worker) -> None:
    """A failure names the command that repeats it: seed, family and number of the try."""
    found = [worker.run(family, SEED, number) for number in range(COUNTS[family])]
    failures = [describe(one, SEED, None) for one in found if one.problems]
    assert not failures, "\n".join(failures)
