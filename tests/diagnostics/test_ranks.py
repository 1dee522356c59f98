"""Two processes with different data record what one process records on the whole batch, on the first rank only."""

import pytest
import torch
import torch.multiprocessing as mp

from tests.diagnostics.ranks import observed, run_rank, whole_batch


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(run_rank, (2, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("mode", ["local", "gathered"])
def test_two_ranks_record_what_one_does(recorded, mode):
    (expected,) = observed(whole_batch(), 0, 1, False)
    (found,) = recorded[0][mode]
    assert recorded[1][mode] == []
    assert found == {name: pytest.approx(value, abs=1e-5) for name, value in expected.items()}
    assert expected["captions_used"] < 0.95  # a rank's own rows alone would give another figure
