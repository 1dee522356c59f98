"""Whole models on 1, 2 and 4 ranks: the loss and every parameter's gradient against one process; see equivalence.py."""

from dataclasses import replace

import pytest

from tests.loss.equivalence import LIMITS, Case, cases, concatenated, differences, launch, make_blocks, step

WORLDS = [1, 2, 4]


@pytest.fixture(scope="module", params=WORLDS)
def launched(request):
    return request.param, launch(request.param)


def test_the_same_loss_and_gradients_as_one_process(launched):
    world_size, results = launched
    grid = cases(world_size)
    assert len(grid) == len(results) == 16
    for case in grid:
        loss, gradient, name = differences(case, results[str(case)])
        assert loss <= LIMITS[case.dtype], case
        assert gradient <= LIMITS[case.dtype], (case, name)
        assert len(results[str(case)][1]) > 20


def test_stocks_convention_is_another_gradient():
    """The comparison can fail: without gather-with-grad, parameters move otherwise than one process's."""
    case = Case(2, local_loss=False, gather_with_grad=False, accum=1, dtype="float64")
    blocks, keyword_tokens = make_blocks(case)
    result = step(replace(case, world_size=1), concatenated(blocks), keyword_tokens)
    with_grad = differences(replace(case, gather_with_grad=True), result)
    without = differences(case, result)
    assert with_grad[1] == 0
    assert without[0] == 0
    assert without[1] > 0.1
