"""The transport solver against POT, its two ends (zero and many iterations), half types, extremes and refusals."""

import itertools

import ot
import pytest
import torch

from sclip_plugin.loss import transport
from sclip_plugin.loss.transport import sinkhorn
from tests.loss.reference import sinkhorn as slow_sinkhorn


def random_cost(U, B, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(U, B, generator=generator, dtype=torch.float64)).to(dtype)


def pot_plan(cost, epsilon):
    """POT's converged plan with each row divided by its sum, (U, B)."""
    U, B = cost.shape
    rows, columns = torch.full((U,), 1 / U).double().numpy(), torch.full((B,), 1 / B).double().numpy()
    plan = ot.bregman.sinkhorn_log(
        rows, columns, cost.double().numpy(), epsilon, numItermax=1500, stopThr=1e-9, warn=False
    )
    plan = torch.from_numpy(plan)
    return plan / plan.sum(dim=1, keepdim=True)


@pytest.mark.parametrize(("U", "B"), [(7, 5), (5, 9), (1, 4), (4, 1), (20, 20)])
@pytest.mark.parametrize("epsilon", [1.0, 0.2, 0.07])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_equals_pot_at_convergence(U, B, epsilon, dtype):
    cost = random_cost(U, B, seed=U + B)
    result = sinkhorn(cost.to(dtype), epsilon, 1500)
    assert result.plan.dtype == dtype
    torch.testing.assert_close(result.plan.double(), pot_plan(cost, epsilon), rtol=0, atol=1e-4)
    assert result.marginal_error < 1e-4


@pytest.mark.parametrize("epsilon", [0.1, 0.002])  # by 0.002 the kernel spans a factor of 10 to the 400
@pytest.mark.parametrize("iterations", [0, 1, 2, 5, 6, 7, 10])
def test_equals_the_transcription_at_every_iteration(iterations, epsilon):
    cost = random_cost(6, 4)
    plan = sinkhorn(cost, epsilon, iterations).plan
    torch.testing.assert_close(plan, slow_sinkhorn(cost, epsilon, iterations), rtol=0, atol=1e-12)


def test_float32_holds_the_factors_between_two_renewals():
    """Rows that all prefer one column, ever more clearly: the factors grow as fast as they can."""
    cost = torch.linspace(0, 2, 40).unsqueeze(0) * torch.linspace(1, 2, 60).unsqueeze(1)
    for epsilon in (0.1, 0.01, 0.001):
        plan = sinkhorn(cost, epsilon, 10).plan
        torch.testing.assert_close(plan, sinkhorn(cost.double(), epsilon, 10).plan.float(), rtol=0, atol=2e-3)


@pytest.mark.parametrize("together", [1, 3])
def test_a_large_plan_is_renewed_more_often_and_stays_the_same(together, monkeypatch):
    cost = torch.rand(40, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    expected = sinkhorn(cost, 0.05, 10).plan
    assert [transport._iterations_together(size) for size in (10**7, 10**7 + 1)] == [5, 3]
    monkeypatch.setattr(transport, "_iterations_together", lambda size: together if size == 1200 else 0)
    torch.testing.assert_close(sinkhorn(cost, 0.05, 10).plan, expected, rtol=1e-12, atol=0)


def test_ten_iterations_are_the_default():
    cost = random_cost(6, 4)
    assert torch.equal(sinkhorn(cost, 0.1).plan, sinkhorn(cost, 0.1, 10).plan)


@pytest.mark.parametrize("epsilon", [0.01, 0.3])
def test_zero_iterations_are_the_row_softmax(epsilon):
    cost = random_cost(8, 5)
    torch.testing.assert_close(sinkhorn(cost, epsilon, 0).plan, torch.softmax(-cost / epsilon, dim=1))


def test_more_iterations_approach_equal_column_mass():
    cost = random_cost(12, 8)
    errors = [sinkhorn(cost, 0.1, iterations).marginal_error.item() for iterations in (1, 5, 25, 1000)]
    assert all(later < earlier for earlier, later in itertools.pairwise(errors))
    assert errors[0] > 0.1
    assert sinkhorn(cost, 0.1, 0).marginal_error > 0.1
    assert errors[-1] < 1e-6


@pytest.mark.parametrize("iterations", [0, 3])
def test_rows_sum_to_one_and_marginal_error_is_the_distance_of_the_column_sums(iterations):
    result = sinkhorn(random_cost(6, 4), 0.1, iterations)
    torch.testing.assert_close(result.plan.sum(dim=1), torch.ones(6, dtype=torch.float64))
    expected = sum(abs(sum(result.plan[u, b].item() for u in range(6)) / 6 - 1 / 4) for b in range(4))
    assert result.marginal_error.shape == ()
    assert result.marginal_error.item() == pytest.approx(expected, abs=1e-12)


def test_epsilon_may_be_a_tensor():
    cost = random_cost(6, 4)
    expected = sinkhorn(cost, 0.1).plan
    for epsilon in (torch.tensor(0.1, dtype=torch.float64), torch.tensor([0.1], dtype=torch.float64)):
        torch.testing.assert_close(sinkhorn(cost, epsilon).plan, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_types_are_raised_to_float32(dtype):
    cost = random_cost(6, 4, dtype=dtype)
    result = sinkhorn(cost, 0.05)
    assert result.plan.dtype == torch.float32
    torch.testing.assert_close(result.plan, sinkhorn(cost.float(), 0.05).plan)
    assert torch.equal(sinkhorn(cost, torch.tensor(0.05, dtype=dtype)).plan.isfinite(), torch.ones(6, 4).bool())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("iterations", [0, 10, 200])
def test_small_epsilon_stays_finite(dtype, iterations):
    cost = random_cost(9, 7, dtype=dtype)
    cost[0], cost[:, 0] = 2.0, 0.0  # whole rows and columns far from and near to everything
    result = sinkhorn(cost, 0.01, iterations)
    assert result.plan.isfinite().all()
    assert (result.plan >= 0).all()
    assert result.marginal_error.isfinite()
    torch.testing.assert_close(result.plan.sum(dim=1), torch.ones(9, dtype=result.plan.dtype))


def test_non_finite_cost_is_not_hidden():
    cost = random_cost(4, 3)
    cost[1, 2] = float("nan")
    result = sinkhorn(cost, 0.1)
    assert not result.plan.isfinite().all()
    assert not result.marginal_error.isfinite()


@pytest.mark.parametrize("iterations", [-1, 2.5, True, "10", None])
def test_refuses_bad_iterations(iterations):
    with pytest.raises(ValueError, match=f"iterations.*{iterations!r}"):
        sinkhorn(random_cost(3, 3), 0.1, iterations)


@pytest.mark.parametrize("epsilon", [0, 0.0, -0.5, float("nan"), float("inf")])
def test_refuses_epsilon_that_is_not_positive_and_finite(epsilon):
    with pytest.raises(ValueError, match=f"epsilon.*{epsilon!r}"):
        sinkhorn(random_cost(3, 3), epsilon)


def test_refuses_a_vector_as_epsilon():
    with pytest.raises(ValueError, match=r"epsilon.*\(3,\)"):
        sinkhorn(random_cost(3, 3), torch.ones(3))


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 3), (3, 0), ()])
def test_refuses_a_cost_that_is_no_matrix(shape):
    with pytest.raises(ValueError, match="cost.*" + str(shape).replace("(", r"\(").replace(")", r"\)")):
        sinkhorn(torch.zeros(shape), 0.1)


def test_refuses_an_integer_cost():
    with pytest.raises(ValueError, match=r"cost.*int64"):
        sinkhorn(torch.zeros(3, 3, dtype=torch.int64), 0.1)
