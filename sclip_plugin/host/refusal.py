"""An open_clip that this plugin does not support: `--loss sclip` is refused with one line; all else is untouched."""

import sys
from itertools import pairwise

from wrapt import register_post_import_hook


def wants_sclip(argv: list[str]) -> bool:
    """True where the command line asks for `--loss sclip`, in either spelling."""
    return "--loss=sclip" in argv or any(pair == ("--loss", "sclip") for pair in pairwise(argv))


def install() -> None:
    """Look at the arguments once open_clip_train's parser module is imported, before it parses them."""
    register_post_import_hook(_refuse, "open_clip_train.params")


def _refuse(_module: object) -> None:
    from sclip_plugin.host import unsupported

    if wants_sclip(sys.argv):
        raise SystemExit(unsupported())
