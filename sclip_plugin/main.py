"""`torchrun -m sclip_plugin.main <the arguments of open_clip_train.main>`: the plugin without the import hook.

This is the way for PyTorch before 2.5 and where `TORCH_DEVICE_BACKEND_AUTOLOAD=0` is set; elsewhere it is a choice.
"""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> str | int | None:
    """Install the plugin and run open_clip's training command; returns its exit status.

    Args:
        argv: the arguments; default: the process's own.
    """
    from sclip_plugin import host
    from sclip_plugin.errors import SClipError

    try:
        host.install("explicit main")
    except SClipError as error:
        sys.exit(f"sclip_plugin: {error}")
    from open_clip_train.main import main as train

    status: str | int | None = train(sys.argv[1:] if argv is None else list(argv))
    return status


if __name__ == "__main__":
    sys.exit(main())
