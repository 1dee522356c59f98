"""Random inputs for the loss, and the comparison that the tests share. Legend: B, U, K, D as in reference.py."""

import torch
import torch.nn.functional as F


def unit(*shape, generator, dtype=torch.float64):
    """Random unit vectors along the last axis, leaves that require grad."""
    vectors = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return F.normalize(vectors, dim=-1).to(dtype).requires_grad_()


def make_inputs(B, U, K=None, D=8, seed=0, scale=9.0, dtype=torch.float64, share=0.5):
    """Keyword arguments of SClipLoss.forward with leaves that require grad; K=None leaves the keywords out."""
    generator = torch.Generator().manual_seed(seed)
    inputs = {
        "image_features": unit(B, D, generator=generator, dtype=dtype),
        "text_features": unit(B, D, generator=generator, dtype=dtype),
        "logit_scale": torch.tensor(scale, dtype=dtype, requires_grad=True),
        "unpaired_features": unit(U, D, generator=generator, dtype=dtype),
    }
    if K is not None:
        inputs["keyword_features"] = unit(K, D, generator=generator, dtype=dtype)
        inputs["keyword_candidates"] = torch.rand(B, K, generator=generator) < share
    return inputs


def as_reference(inputs):
    """The same inputs, as fresh float64 leaves under reference_loss's names."""
    names = {
        "image_features": "images",
        "text_features": "texts",
        "logit_scale": "s",
        "unpaired_features": "unpaired",
        "keyword_features": "keywords",
    }
    fresh = {new: inputs[old].detach().double().requires_grad_() for old, new in names.items() if old in inputs}
    if "keyword_candidates" in inputs:
        fresh["candidates"] = inputs["keyword_candidates"]
    return fresh


def gradients(total, leaves):
    """Gradient of `total` for each leaf in a dict, zeros where none flows; non-float entries are left out."""
    leaves = {name: leaf for name, leaf in leaves.items() if leaf.is_floating_point()}
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True, retain_graph=True)
    return {name: torch.zeros_like(leaf) if grad is None else grad for (name, leaf), grad in zip(leaves.items(), found)}


def difference(actual, expected):
    """Largest absolute difference, relative to the largest entry of `expected` where that exceeds 1."""
    expected = expected.detach().double()
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    gap = (actual.detach().double() - expected).abs().max()
    return (gap / expected.abs().max().clamp(min=1.0)).item()


def relative(actual, expected):
    """Largest absolute difference relative to the largest entry of `expected`."""
    expected = expected.detach().double()
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    gap = (actual.detach().double() - expected).abs().max()
    return (gap / expected.abs().max().clamp(min=1e-12)).item()
