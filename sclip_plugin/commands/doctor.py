"""Is the plugin active here, for which open_clip, by which route, and what is wrong where it is not?

Example:
    sclip doctor

The command exits with 0 where `--loss sclip` works in this environment, and with 1 where it does not.
"""

import argparse
import os
from importlib.metadata import PackageNotFoundError, entry_points, version

from sclip_plugin import host
from sclip_plugin._version import __version__
from sclip_plugin.autoload import DISABLE, disabled

NO_ENTRY_POINT = "the entry point is not installed: pip install sclip-plugin (a source tree on PYTHONPATH has none)"
WEBDATASET_LIMIT = (0, 2, 86)  # open_clip 3.x breaks on later ones
TORCH_MINIMUM = (2, 5)  # the first torch that calls the entry points of `torch.backends`


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`sclip doctor` takes no arguments."""


def run(_args: argparse.Namespace) -> int:
    """Print versions, route and problems. Returns 0 where there is no problem, else 1."""
    for name in ("torch", "open_clip_torch", "webdataset"):
        print(f"{name:<16} {_version(name) or 'not installed'}")
    print(f"{'sclip-plugin':<16} {__version__}")
    found = problems()
    if not found:
        route = "its own plugin extension point (patched)" if host.patched() else "the import hook (torch.backends)"
        print(f"active: `--loss sclip` works with open_clip_train.main, by {route}")
        return 0
    for problem in found:
        print(f"problem: {problem}")
    if not host.patched() and not _host_problems():
        print("the explicit route works all the same: torchrun -m sclip_plugin.main <the same arguments>")
    return 1


def problems() -> list[str]:
    """One line for each reason why `open_clip_train.main --loss sclip` would not reach the plugin."""
    found = _host_problems()
    if host.patched() is None:  # half patched, as `_host_problems` says
        return found
    return found + (_extension_point_problems() if host.patched() else _hook_problems())


def _host_problems() -> list[str]:
    lines = [host.unsupported(), _webdataset_problem(), None if _version("torch") else "torch is not installed"]
    return [line for line in lines if line]


def _extension_point_problems() -> list[str]:
    if not _entry_point("open_clip_train.plugins"):
        return [NO_ENTRY_POINT]
    return [] if host.active() else ["the patched open_clip_train could not load the plugin"]


def _hook_problems() -> list[str]:
    found = []
    if disabled():
        found.append(f"{DISABLE}={os.environ[DISABLE]} switches the plugin off")
    torch_version = _version("torch")
    if torch_version and tuple(int(part) for part in torch_version.split(".")[:2]) < TORCH_MINIMUM:
        found.append(f"torch {torch_version} does not load plugins by itself (that needs 2.5)")
    if os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD") == "0":
        found.append("TORCH_DEVICE_BACKEND_AUTOLOAD=0 keeps torch from loading plugins")
    if not _entry_point("torch.backends"):
        found.append(NO_ENTRY_POINT)
    if not found and not _host_problems() and not host.active():
        found.append("open_clip_train was imported, but its parser is not the plugin's")
    return found


def _entry_point(group: str) -> bool:
    return any(point.value.startswith("sclip_plugin.") for point in entry_points(group=group))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _webdataset_problem() -> str | None:
    found = _version("webdataset")
    if found is None:
        return "webdataset is not installed: pip install 'webdataset<=0.2.86'"
    if tuple(int(part) for part in found.split(".")[:3] if part.isdigit()) > WEBDATASET_LIMIT:
        return f"webdataset {found} breaks open_clip 3.x: pip install 'webdataset<=0.2.86'"
    return None
