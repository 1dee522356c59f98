"""The cross-entropies of the loss, each with its derivative computed beside its value.

The derivative of a cross-entropy by its logits is softmax − target: the value's exponentials are all that it takes.
Autograd by itself would keep the logits and take the exponentials again, in several readings of each matrix. Targets
are constants here, and there is no second derivative.

Legend: N rows, M columns, B pairs, U unpaired images, D width, s the scale of the logits.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor, with half types raised to float32; float32 and float64 stay as they are."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def row_cross_entropy(
    scale: Tensor, rows: Tensor, columns: Tensor, targets: Tensor | int, cosines: Tensor | None = None
) -> Tensor:
    """0-dim: CE(s·rows·columnsᵀ, targets), the mean over rows of −Σ_j target_j·log softmax_j.

    Args:
        scale: s, one-element tensor.
        rows: (N, D).
        columns: (M, D).
        targets: (N, M), constants. A row of zeros adds 0 and is counted in the mean. A number c stands for the identity
            from column c on: row i is to be alike column c + i.
        cosines: rows·columnsᵀ where it is at hand, (N, M).
    """
    if isinstance(targets, Tensor) and targets.requires_grad:
        return F.cross_entropy(at_least_float32(scale * (rows @ columns.T)), targets)
    if cosines is None:
        with torch.no_grad():
            cosines = rows @ columns.T
    value: Tensor = _RowCrossEntropy.apply(scale, rows, columns, targets, cosines.detach())
    return value


def supervised_and_caption(
    scale: Tensor, images: Tensor, texts: Tensor, unpaired: Tensor, plan: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """L_clip and L_cap without its weight, 0-dim each, from the products s·I·Tᵀ and s·Q·Tᵀ.

    L_clip is half of CE(s·I·Tᵀ, diag) and half of CE(s·T·[I; Q]ᵀ, diag); L_cap is CE(s·Q·Tᵀ, P).

    Args:
        scale: s, one-element tensor.
        images: I, (B, D).
        texts: T, (B, D).
        unpaired: Q, (U, D).
        plan: P, (U, B), a constant; None: no L_cap.
    """
    terms: tuple[Tensor, Tensor | None] = _SupervisedAndCaption.apply(scale, images, texts, unpaired, plan)
    return terms


class _RowCrossEntropy(torch.autograd.Function):
    """See `row_cross_entropy`."""

    @staticmethod
    def forward(  # torch types the context as Any
        ctx: Any, scale: Tensor, rows: Tensor, columns: Tensor, targets: Tensor | int, cosines: Tensor
    ) -> Tensor:
        ctx.type = cosines.dtype
        cosines = at_least_float32(cosines)
        logits = scale * cosines
        derivative, log_sums = _softmax(logits)
        if isinstance(targets, Tensor):
            mass = targets.sum(dim=1)
            value = (mass * log_sums - (targets * logits).sum(dim=1)).mean()
            derivative.mul_(mass.unsqueeze(1)).sub_(targets)
        else:
            value = (log_sums - logits.diagonal(targets)).mean()
            derivative.diagonal(targets).sub_(1)
        del logits  # one matrix less while the next stands beside the cosines
        by_scale = (derivative * cosines).sum().div_(len(rows))
        ctx.save_for_backward(scale, rows, columns, derivative, by_scale)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        scale, rows, columns, derivative, by_scale = ctx.saved_tensors
        by_cosines = (derivative * (gradient * scale / len(rows))).to(ctx.type)
        by_rows, by_columns = _by_factors(by_cosines, rows, columns, ctx.needs_input_grad[1:3])
        return (gradient * by_scale).reshape(scale.shape), by_rows, by_columns, None, None


class _SupervisedAndCaption(torch.autograd.Function):
    """See `supervised_and_caption`."""

    @staticmethod
    def forward(  # torch types the context as Any
        ctx: Any, scale: Tensor, images: Tensor, texts: Tensor, unpaired: Tensor, plan: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        scaled = scale * texts
        product = images @ scaled.T
        of_images, of_unpaired = at_least_float32(product), at_least_float32(unpaired @ scaled.T)
        positives = of_images.diagonal().clone()
        probability, log_sums = _softmax(of_images)
        by_caption = caption = None
        if plan is not None:
            by_caption, caption_log_sums = _softmax(of_unpaired)
            caption = (caption_log_sums - (plan * of_unpaired).sum(dim=1)).mean()
            by_caption.sub_(plan)
        column_log_sums = _softmax_of_columns_(of_images, of_unpaired)
        of_images.add_(probability).diagonal().sub_(2)  # these two are softmax − target from here on
        ctx.type = product.dtype
        ctx.save_for_backward(scale, images, texts, unpaired, scaled, of_images, of_unpaired, by_caption)
        return (log_sums + column_log_sums - 2 * positives).mean() / 2, caption

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, supervised: Tensor, caption: Tensor | None) -> tuple[Tensor | None, ...]:
        scale, images, texts, unpaired, scaled, of_images, of_unpaired, by_caption = ctx.saved_tensors
        share = supervised / (2 * len(texts))
        of_images, of_unpaired = share * of_images, share * of_unpaired
        if by_caption is not None and caption is not None:
            of_unpaired.add_(by_caption * (caption / len(unpaired)))
        wanted = ctx.needs_input_grad
        either = wanted[0] or wanted[2]
        by_images, by_texts = _by_factors(of_images.to(ctx.type), images, scaled, (wanted[1], either))
        by_unpaired, more = _by_factors(of_unpaired.to(ctx.type), unpaired, scaled, (wanted[3], either))
        if by_texts is None or more is None:
            return None, by_images, None, by_unpaired, None
        by_texts.add_(more)  # of s·T
        return (by_texts * texts).sum().reshape(scale.shape), by_images, by_texts.mul_(scale), by_unpaired, None


def _by_factors(
    by_product: Tensor, rows: Tensor, columns: Tensor, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of rows (N, D) and columns (M, D), from that of their product (N, M), multiplied in its type."""
    by_rows = (by_product @ columns.to(by_product.dtype)).to(rows.dtype) if wanted[0] else None
    by_columns = (by_product.T @ rows.to(by_product.dtype)).to(columns.dtype) if wanted[1] else None
    return by_rows, by_columns


def _softmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """(N, M) softmax and (N,) log of the sum of exponentials of each row of (N, M)."""
    probability = torch.softmax(logits, dim=1)
    # the greatest of M probabilities is at least 1/M, so that its logarithm is safe
    return probability, logits.amax(dim=1) - probability.amax(dim=1).log()


def _softmax_of_columns_(upper: Tensor, lower: Tensor) -> Tensor:
    """The same of each column of [upper; lower], (B, B) and (U, B): (B,) logs; the softmax takes the logits' place."""
    greatest = torch.maximum(upper.amax(dim=0), lower.amax(dim=0))
    sums = upper.sub_(greatest).exp_().sum(dim=0) + lower.sub_(greatest).exp_().sum(dim=0)
    upper.div_(sums)
    lower.div_(sums)
    return greatest + sums.log()
