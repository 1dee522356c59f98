"""Caption-level pseudo-labels: how much each unpaired image draws from each caption (paper section 4.1 and baselines).

Legend: U unpaired images, B paired samples, D width. With several ranks U counts this rank's rows and B all ranks'.
"""

import torch
from torch import Tensor

from sclip_plugin.loss.cross_entropy import at_least_float32
from sclip_plugin.loss.settings import LossSettings
from sclip_plugin.loss.transport import log_kernel, plan_of


def cosines(queries: Tensor, support: Tensor) -> Tensor:
    """(U, B) inner products of (U, D) and (B, D) in at least float32, autocast off."""
    with torch.autocast(device_type=queries.device.type, enabled=False):
        return at_least_float32(queries) @ at_least_float32(support).T


def pseudo_labels(
    choice: str,
    queries: Tensor,
    support: Tensor,
    logit_scale: Tensor,
    *,
    epsilon: float | None = None,
    iterations: int = LossSettings.sinkhorn_iterations,
    world_size: int = 1,
) -> Tensor:
    """The pseudo-captions P (U, B): how much each unpaired image draws from each caption. Rows sum to 1.

    Args:
        choice: one of `settings.PSEUDO_LABELS`. It names the rule only; `support` is what it is applied to.
        queries: (U, D) unpaired image features, L2-normalised.
        support: (B, D) paired image or caption features, L2-normalised, of all ranks.
        logit_scale: s = 1/τ, one-element tensor.
        epsilon: entropic regularisation for `ot-*`; default: the learned temperature τ (paper).
        iterations: Sinkhorn iterations for `ot-*`.
        world_size: ranks that hold rows of the one global plan; 1 where the queries are already gathered.
    """
    rule = choice.split("-")[0]
    scale = logit_scale.to(torch.promote_types(queries.dtype, torch.float32))
    if rule == "ot":
        reg = scale.reciprocal() if epsilon is None else epsilon
        # nothing else holds the cosines and the cost, whose memory is free as soon as the next matrix is there
        return plan_of(log_kernel(1 - cosines(queries, support), reg), iterations, world_size=world_size)
    similarity = cosines(queries, support)
    if rule == "soft":
        return torch.softmax(scale * similarity, dim=1)
    nearest = similarity.argmax(dim=1, keepdim=True)
    return torch.zeros_like(similarity).scatter_(1, nearest, 1.0)
