"""`torchrun -m sclip_plugin.main <the arguments of open_clip_train.main>`: the plugin without the import hook.

For PyTorch < 2.5, for `TORCH_DEVICE_BACKEND_AUTOLOAD=0`, or by choice.
"""

import sys


def main(argv=None):
    """Install the plugin and run open_clip's training command."""
    from sclip_plugin import host
    from sclip_plugin.errors import SClipError

    try:
        host.install("explicit main")
    except SClipError as error:
        sys.exit(f"sclip_plugin: {error}")
    from open_clip_train.main import main as train

    return train(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
