"""S-CLIP (arXiv 2305.14095) as a plugin for open_clip.

Importing this package is cheap: nothing heavy is imported before a name is asked for.
"""

from pathlib import Path as _Path

from sclip_plugin._version import __version__

__all__ = ["SClipLoss", "Vocabulary", "__version__"]

# In a checkout `shards/` and `patches/` stand beside this folder; an install puts them inside it. Running from the
# checkout's root finds this folder first, so it is told where its subpackages are.
_root = _Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file() and (_root / "shards" / "__init__.py").is_file():
    __path__.append(str(_root))

_LAZY = {"SClipLoss": "sclip_plugin.loss", "Vocabulary": "sclip_plugin.keywords"}


def __getattr__(name):
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
