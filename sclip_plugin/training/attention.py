"""Attention whose projections are modules that can be wrapped, with the weights of torch's and open_clip's.

`torch.nn.MultiheadAttention` hands its weights to a function and never calls a module of its own, so that a wrapper
around its output projection does nothing, and its input projection is no module at all. peft's wrapper for it (0.21)
adds and subtracts the update in the frozen weights at every forward pass, which rounds them away in bf16, and adds that
of the output projection twice. The pooling of CLIP's ResNets uses its weights in the same way.

Legend: N samples, L tokens, D width, H heads.
"""

from typing import Any

import torch
import torch.nn.functional as F
from open_clip.modified_resnet import AttentionPool2d
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """The same function as a `MultiheadAttention` that is called with one tensor, on the same parameters.

    Args:
        attention: for which `replaceable` is true; its parameters are shared.
    """

    def __init__(self, attention: nn.MultiheadAttention):
        super().__init__()
        self.heads, self.batch_first = attention.num_heads, attention.batch_first
        width = attention.embed_dim
        # the name tells `adapters.plain` which keys these were
        self.sclip_in_proj = nn.Linear(width, 3 * width, bias=attention.in_proj_bias is not None, device="meta")
        self.sclip_in_proj.weight = attention.in_proj_weight
        self.sclip_in_proj.bias = attention.in_proj_bias
        self.out_proj = nn.Linear(width, width, bias=attention.out_proj.bias is not None, device="meta")
        self.out_proj.weight, self.out_proj.bias = attention.out_proj.weight, attention.out_proj.bias

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """(N, L, D) → (N, L, D), as open_clip calls it; or (L, N, D) where the attention had no `batch_first`.

        Args:
            query: the tokens.
            key: the same tensor.
            value: the same tensor.
            need_weights: no weights are given.
            attn_mask: (L, L) or (N·H, L, L), added to the logits.
        """
        tokens = query if self.batch_first else query.transpose(0, 1)
        samples, length, width = tokens.shape
        parts = self.sclip_in_proj(tokens).view(samples, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        if attn_mask is not None:
            attn_mask = attn_mask.to(q.dtype)
            if attn_mask.dim() == 3:
                attn_mask = attn_mask.view(samples, self.heads, length, length)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        out = self.out_proj(mixed.transpose(1, 2).reshape(samples, length, width))
        return (out if self.batch_first else out.transpose(0, 1)), None


def replaceable(attention: nn.MultiheadAttention, arguments: tuple[Any, ...]) -> bool:
    """Whether `SelfAttention` can stand in for an attention that was called with these arguments."""
    query, key, value = arguments[:3]
    return (
        query is key
        and key is value
        and attention.in_proj_weight is not None
        and attention.bias_k is None
        and not attention.add_zero_attn
        and not attention.dropout
    )


class AttentionPool(AttentionPool2d):
    """open_clip's pooling, which calls its projections; an instance becomes one by its `__class__`."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, D, height, width) → (N, the output's width): the mean token's view of all tokens."""
        tokens = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
        tokens = tokens + self.positional_embedding.to(x.dtype)
        q, k, v = self.q_proj(tokens[:, :1]), self.k_proj(tokens), self.v_proj(tokens)
        heads = [one.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for one in (q, k, v)]
        pooled: Tensor = self.c_proj(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(1))
        return pooled
