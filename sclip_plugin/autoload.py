"""What `import torch` calls by the entry point `torch.backends`: it registers one post-import hook, nothing else.

The hook fires when `open_clip_train` is imported, so a process that does not train with open_clip never loads more of
this package. Neither torch nor open_clip is imported here, and no error may leave: `import torch` must not break.
"""

import os
import sys

DISABLE = "SCLIP_PLUGIN_DISABLE"
_done = False


def disabled() -> bool:
    """True where the environment variable `SCLIP_PLUGIN_DISABLE` is set, and to something else than 0."""
    return os.environ.get(DISABLE, "") not in ("", "0")


def register() -> None:
    """Register the hook. A second call does nothing; no call raises."""
    global _done
    if _done or disabled():
        return
    _done = True
    try:
        from wrapt import register_post_import_hook

        register_post_import_hook(_install, "open_clip_train")
    except Exception as error:
        print(f"sclip_plugin: not active, its import hook could not be set: {error!r}", file=sys.stderr)


def _install(_module: object) -> None:
    try:
        from sclip_plugin.host import install

        install("import hook")
    except Exception as error:
        print(f"sclip_plugin: not active, open_clip could not be hooked: {error!r}", file=sys.stderr)
