"""An open_clip model that understands mixed batches: its class is extended in place, its state-dict keys stay.

Legend: B pairs, U unpaired images, K keywords, W ranks, D width, L context length, l length of the longest keyword.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sclip_plugin.data.batch import MixedImages, MixedTexts

_TOKENS = "sclip_keyword_tokens"  # buffer, not persistent: no checkpoint knows it


class _MixedForward(nn.Module):
    """Mixed into the model's own class by `adapt`, in front of it."""

    sclip_rank: int
    sclip_world_size: int
    sclip_accum_freq: int

    def forward(self, image: Any = None, text: Any = None) -> Any:
        """The stock output for tensors; for a mixed batch a dict with the arguments of `SClipLoss.forward`.

        Where a batch has no unpaired images, `unpaired_features` is absent. One pass of the image tower serves paired
        and unpaired images, so that BatchNorm sees both. The authors' code makes two passes.
        """
        if not isinstance(image, MixedImages):
            return super().forward(image, text)
        assert isinstance(text, MixedTexts), "the loader gives both halves of a mixed batch"
        output = super().forward(image.pixels, text.tokens)
        features = output.pop("image_features")
        output["image_features"] = features[: image.num_paired]
        if len(image.pixels) > image.num_paired:
            output["unpaired_features"] = features[image.num_paired :]
        if text.candidates is not None:
            output["keyword_features"] = self._encode_keywords()
            output["keyword_candidates"] = text.candidates
        if text.rows is not None and text.nearest is not None and text.weights is not None:
            output["pair_rows"], output["unpaired_nearest"] = text.rows, text.nearest
            output["unpaired_weights"] = text.weights
        if self.sclip_accum_freq > 1:
            output["logit_scale"] = _scale_gradient(output["logit_scale"], 1 / self.sclip_accum_freq)
        return output

    def _encode_keywords(self) -> Tensor:
        """(ceil(K/W), D): this rank's contiguous shard of the keywords, the last one padded; with gradient."""
        tokens: Tensor = getattr(self, _TOKENS)
        shard = -(-len(tokens) // self.sclip_world_size)
        first = self.sclip_rank * shard
        rows = torch.arange(first, first + shard, device=tokens.device).clamp_(max=len(tokens) - 1)
        tokens = tokens[rows]
        shortened = _shortened(self, tokens.shape[1])
        if shortened:
            features: Tensor = functional_call(self, shortened, (None, tokens))["text_features"]
        else:
            features = super().forward(None, tokens)["text_features"]
        return features


@lru_cache
def _extended(cls: type) -> type:
    """The class with `_MixedForward` in front of it, under its own name."""
    return type(cls.__name__, (_MixedForward, cls), {"__module__": cls.__module__, "__doc__": cls.__doc__})


def adapt(
    model: nn.Module,
    keyword_tokens: Tensor | None = None,
    rank: int = 0,
    world_size: int = 1,
    accum_freq: int = 1,
) -> nn.Module:
    """Let `model(MixedImages, MixedTexts)` return the arguments of `SClipLoss.forward`; changes the model in place.

    Args:
        model: an open_clip CLIP or CustomTextCLIP built with `output_dict=True`.
        keyword_tokens: (K, L) or (K, l) tokens of all keywords, the same on all ranks; None: no keyword level.
        rank: number of this process, which decides its shard of the keywords.
        world_size: number of processes, W.
        accum_freq: micro-batches per step. Stock's loop adds up the gradient of the scale once for each; here each
            counts 1/accum_freq, so that the sum is one large batch's.

    Raises:
        TypeError: a model that does not return a dict.
    """
    if not getattr(model, "output_dict", False):
        raise TypeError(f"{type(model).__name__} must be built with output_dict=True")
    cls: Any = type(model)  # hashable, though torch's types say otherwise
    model.__class__ = _extended(cls)
    extended: Any = model
    extended.sclip_rank, extended.sclip_world_size, extended.sclip_accum_freq = rank, world_size, accum_freq
    if keyword_tokens is not None:
        tokens = trim(model, keyword_tokens).to(extended.logit_scale.device)
        # DDP writes to it
        model.register_buffer(_TOKENS, tokens.clone(memory_format=torch.contiguous_format), persistent=False)
    return model


def trim(model: nn.Module, tokens: Tensor) -> Tensor:
    """(K, l): tokens (K, L) cut to the longest text, where the tower gives the same result for shorter texts."""
    if not causal(model):
        return tokens
    used = (tokens != 0).sum(dim=1).max()  # padding of causal towers is 0, at the end
    return tokens[:, : int(used)]


def causal(model: nn.Module) -> bool:
    """True where tokens after the end of a text cannot change its features: causal mask, pooled at the text's end."""
    tower: Any = getattr(model, "text", model)
    pool = getattr(tower, "pool_type", getattr(tower, "text_pool_type", None))
    mask = getattr(tower, "attn_mask", None)
    return mask is not None and pool in ("argmax", "eos") and getattr(tower, "cls_emb", None) is None


def _shortened(model: nn.Module, length: int) -> dict[str, Tensor]:
    """Position table and mask at `length`, by their names in the model; empty where the tower takes full texts only."""
    if not causal(model):
        return {}
    prefix = "text." if hasattr(model, "text") else ""
    tower: Any = getattr(model, "text", model)
    return {
        f"{prefix}positional_embedding": tower.positional_embedding[:length],
        f"{prefix}attn_mask": tower.attn_mask[:length, :length],
    }


def _scale_gradient(tensor: Tensor, factor: float) -> Tensor:
    """The same value; gradients are multiplied by `factor`."""
    return tensor * factor + (tensor * (1 - factor)).detach()
