"""S-CLIP (arXiv 2305.14095) as a plugin for open_clip.

Importing this package is cheap: nothing heavy is imported before a name is asked for.
"""

from typing import TYPE_CHECKING

from sclip_plugin._version import __version__

if TYPE_CHECKING:
    from sclip_plugin.keywords import Vocabulary
    from sclip_plugin.loss import SClipLoss

__all__ = ["SClipLoss", "Vocabulary", "__version__"]

_LAZY = {"SClipLoss": "sclip_plugin.loss", "Vocabulary": "sclip_plugin.keywords"}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
