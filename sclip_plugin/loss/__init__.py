"""The S-CLIP loss (arXiv 2305.14095), as docs/method.md specifies it.

It knows tensors only: no loader, no model, no flags.

    settings        the loss's options, their defaults and where these come from
    sclip_loss      the loss: supervised, caption level, keyword level
    cross_entropy   the cross-entropies of all terms, with their gradients
    transport       the transport plan between unpaired images and pairs
    pseudo_labels   caption level: how much an unpaired image draws from each caption
    partial_labels  keyword level: which keywords an unpaired image may show
    gather          features of all ranks

Importing this package imports nothing heavy; `SClipLoss` is imported when it is asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sclip_plugin.loss.sclip_loss import SClipLoss

__all__ = ["SClipLoss"]


def __getattr__(name: str) -> object:
    if name == "SClipLoss":
        from sclip_plugin.loss.sclip_loss import SClipLoss

        return SClipLoss
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
