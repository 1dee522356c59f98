"""Pseudo-labels to measure."""

import torch


def random_plan(rows: int = 7, columns: int = 5, seed: int = 0) -> torch.Tensor:
    """(rows, columns) of random weights; a row sums to 1."""
    return torch.softmax(3 * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)), dim=1)
