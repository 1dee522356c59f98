"""Features of all ranks on each rank, with open_clip's conventions for gradients.

Legend: N rows per rank (equal on all), W ranks.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch import distributed as dist

Gradient = Literal["all", "own", "none"]


def gather(tensor: Tensor, *, rank: int, world_size: int, gradient: Gradient) -> Tensor:
    """(W·N, …): the ranks' (N, …) tensors, concatenated in rank order.

    Args:
        tensor: this rank's (N, …); N is equal on all ranks.
        rank: this rank's number.
        world_size: W.
        gradient: "all": gradients flow back to every rank, summed (`--gather-with-grad`). "own": only this rank's rows
            carry gradient (stock's default). "none": no gradient flows (stock's `--local-loss`, and for masks).
    """
    if world_size == 1:
        return tensor if gradient != "none" else tensor.detach()
    if gradient == "all":
        gathered: Tensor = _GatherWithGradient.apply(tensor, rank, world_size)
        return gathered
    everybody = _all_gather(tensor.detach(), world_size)
    if gradient == "none":
        return everybody
    before, _, after = everybody.tensor_split([rank * len(tensor), (rank + 1) * len(tensor)])
    return torch.cat([before, tensor, after])


def _all_gather(tensor: Tensor, world_size: int) -> Tensor:
    if tensor.dtype == torch.bool:  # not every backend moves bools
        return _all_gather(tensor.contiguous().view(torch.uint8), world_size).view(torch.bool)
    everybody = tensor.new_empty((world_size * tensor.shape[0], *tensor.shape[1:]))
    dist.all_gather(list(everybody.chunk(world_size)), tensor.contiguous())
    return everybody


class _GatherWithGradient(torch.autograd.Function):
    """An all-gather. Backward, each rank gets the sum over ranks of the gradients of its own rows."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, rank: int, world_size: int) -> Tensor:  # torch types the context as Any
        ctx.rank, ctx.world_size = rank, world_size
        return _all_gather(tensor, world_size)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradient.contiguous()
        own = gradient.chunk(ctx.world_size)[ctx.rank]
        if dist.get_backend() == "gloo":  # has no reduce-scatter in the older releases of torch
            gradient = gradient.clone()  # autograd's, not ours to change
            dist.all_reduce(gradient)
            return gradient.chunk(ctx.world_size)[ctx.rank], None, None
        summed = torch.empty_like(own)
        dist.reduce_scatter(summed, list(gradient.chunk(ctx.world_size)))
        return summed, None, None
