"""Entropic optimal transport between uniform marginals by Sinkhorn's iterations, in the log domain (paper section 4.1).

Legend: U rows (unpaired images), B columns (paired samples), W ranks. In several processes each rank holds its own
rows of the one global cost matrix and only column sums travel.

No step reads a value back to the host: no convergence test, no data-dependent shape.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist

from sclip_plugin.loss.cross_entropy import at_least_float32
from sclip_plugin.loss.settings import LossSettings, check_epsilon, check_iterations


@dataclass
class Transport:
    """A transport plan.

    Attributes:
        plan: (U, B), each row divided by its sum: rows sum to 1.
        marginal_error: 0-dim; L1 distance between the column sums of the plan scaled to mass 1 and the uniform 1/B.
    """

    plan: Tensor
    marginal_error: Tensor


def sinkhorn(
    cost: Tensor,
    epsilon: float | Tensor,
    iterations: int = LossSettings.sinkhorn_iterations,
    *,
    world_size: int = 1,
    group: dist.ProcessGroup | None = None,
) -> Transport:
    """Sinkhorn's algorithm for uniform marginals 1/U and 1/B.

    Each iteration is a column update followed by a row update, so the rows always fit exactly. Zero iterations give
    the row softmax of `-cost / epsilon`; many give equal column mass. In one process the result is differentiable:
    gradient runs through the iterations.

    Args:
        cost: (U, B) floating point; with `world_size > 1` this rank's rows of the global cost.
        epsilon: entropic regularisation, in units of the cost; a number or a one-element tensor (not read back).
        iterations: number of column + row updates; 10 is the authors' code's.
        world_size: ranks that hold rows of the same plan.
        group: their process group; default: all.

    Raises:
        ValueError: a cost that is not a floating-point matrix with rows and columns, negative or fractional
            iterations, an epsilon that is not positive.

    Example:
        >>> import torch
        >>> from sclip_plugin.transport import sinkhorn
        >>> cost = torch.tensor([[0.0, 1.0], [0.1, 1.0], [0.2, 1.0]])
        >>> nearest = sinkhorn(cost, epsilon=0.1, iterations=0).plan  # the row softmax of -cost / epsilon
        >>> nearest.argmax(dim=1).tolist()
        [0, 0, 0]
        >>> result = sinkhorn(cost, epsilon=0.1, iterations=100)  # the columns share the mass evenly
        >>> result.plan.mean(dim=0).round(decimals=3).tolist()
        [0.5, 0.5]
        >>> bool(result.marginal_error < 1e-4)
        True
    """
    plan = transport_plan(cost, epsilon, iterations, world_size=world_size, group=group)
    return Transport(plan, _marginal_error(plan, world_size, group))


def transport_plan(
    cost: Tensor,
    epsilon: float | Tensor,
    iterations: int = LossSettings.sinkhorn_iterations,
    *,
    world_size: int = 1,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """The plan of `sinkhorn` alone, for the loss, which needs no marginal error. The arguments are the same."""
    return plan_of(log_kernel(cost, epsilon), iterations, world_size=world_size, group=group)


def log_kernel(cost: Tensor, epsilon: float | Tensor) -> Tensor:
    """(U, B): log K = −C/ε in at least float32; the arguments are those of `sinkhorn`."""
    _check(cost, epsilon)
    return at_least_float32(cost) / -epsilon


def plan_of(kernel: Tensor, iterations: int, *, world_size: int = 1, group: dist.ProcessGroup | None = None) -> Tensor:
    """(U, B): the plan P_ij = exp(f_i + g_j + log K_ij), whose rows sum to 1.

    Args:
        kernel: log K, (U, B), at least float32.
        iterations, world_size, group: as for `sinkhorn`.
    """
    check_iterations("iterations", iterations)
    if iterations == 0:
        return torch.softmax(kernel, dim=1)
    with torch.autocast(device_type=kernel.device.type, enabled=False):
        columns = -_logsumexp_over_ranks(kernel, world_size, group)  # g, (B,)
        together = _iterations_together(kernel.shape[0] * world_size * kernel.shape[1])
        for done in range(1, iterations, together):
            plan = torch.softmax(kernel + columns, dim=1)  # the row update, f and the division in one
            factors = _column_factors(plan, min(together, iterations - done), world_size, group)
            columns = columns + torch.log(factors)
        return torch.softmax(kernel + columns, dim=1)


def _iterations_together(size: int) -> int:
    """How many iterations scale the columns by factors before the plan is computed anew from its logarithm.

    The column sums of a plan with row sums 1 lie between 1/B and U after the first update, so that an iteration changes
    a factor at most (U·B)-fold. float32 holds five such changes up to U·B = 10⁷, and three up to 10¹².

    Args:
        size: U·B of the global plan.
    """
    return 5 if size <= 10**7 else 3


def _column_factors(plan: Tensor, iterations: int, world_size: int, group: dist.ProcessGroup | None) -> Tensor:
    """(B,): by what so many column updates, with row updates between them, multiply the columns of a plan.

    Args:
        plan: (U, B), whose rows sum to 1 and whose columns were fitted once.
        iterations: at least 1.
        world_size: ranks that hold rows of the same plan.
        group: their process group; None: all.
    """
    columns = _sum_over_ranks(plan.sum(dim=0), world_size, group).reciprocal()
    for _ in range(iterations - 1):
        rows = torch.mv(plan, columns).reciprocal()
        columns = _sum_over_ranks(torch.mv(plan.T, rows), world_size, group).reciprocal()
    return columns


def _logsumexp_over_ranks(matrix: Tensor, world_size: int, group: dist.ProcessGroup | None) -> Tensor:
    """(B,): log of the column sums of exp(matrix) over all ranks' rows. Two all-reduces of B numbers each."""
    local = torch.logsumexp(matrix, dim=0)
    if world_size == 1:
        return local
    highest = local.clone()
    dist.all_reduce(highest, op=dist.ReduceOp.MAX, group=group)
    return highest + torch.log(_sum_over_ranks(torch.exp(local - highest), world_size, group))


def _sum_over_ranks(values: Tensor, world_size: int, group: dist.ProcessGroup | None) -> Tensor:
    """The sum over ranks of a tensor of our own, which may be overwritten."""
    if world_size > 1:
        dist.all_reduce(values, group=group)
    return values


def _marginal_error(plan: Tensor, world_size: int, group: dist.ProcessGroup | None) -> Tensor:
    mass = _sum_over_ranks(plan.detach().sum(dim=0), world_size, group)
    rows, columns = plan.shape[0] * world_size, plan.shape[1]
    return (mass / rows - 1.0 / columns).abs().sum()


def _check(cost: Tensor, epsilon: float | Tensor) -> None:
    if cost.ndim != 2 or not cost.is_floating_point() or 0 in cost.shape:
        raise ValueError(f"cost must be a floating-point (U, B) matrix, got {cost.dtype} {tuple(cost.shape)}")
    if isinstance(epsilon, Tensor):
        if epsilon.numel() != 1:
            raise ValueError(f"epsilon must be one number, got a tensor of shape {tuple(epsilon.shape)}")
    else:
        check_epsilon(epsilon)
