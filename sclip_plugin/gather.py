"""Features of all ranks on each rank, with open_clip's conventions for gradients.

Legend: N rows per rank (equal on all), W ranks.
"""

import torch
import torch.distributed.nn
from torch import Tensor
from torch import distributed as dist


def gather(tensor: Tensor, *, rank: int, world_size: int, gradient: str) -> Tensor:
    """(W·N, …): the ranks' (N, …) tensors, concatenated in rank order.

    Args:
        gradient: "all": gradients flow back to every rank, summed (`--gather-with-grad`); "own": only this rank's rows
            carry gradient (stock's default); "none": no gradient (stock's `--local-loss`, and for masks).
    """
    if world_size == 1:
        return tensor if gradient != "none" else tensor.detach()
    if gradient == "all":
        return torch.cat(torch.distributed.nn.all_gather(tensor.contiguous()), dim=0)
    source = tensor.detach().contiguous()
    if source.dtype == torch.bool:  # not every backend moves bools
        return gather(source.view(torch.uint8), rank=rank, world_size=world_size, gradient="none").view(torch.bool)
    parts = [torch.empty_like(source) for _ in range(world_size)]
    dist.all_gather(parts, source)
    if gradient == "own":
        parts[rank] = tensor
    return torch.cat(parts, dim=0)
