"""Host modules: one for each generation of open_clip_train; nothing else knows its internals.

`install(route)` picks the module for the open_clip that is installed. It is called once in a process.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

SUPPORTED = {"3": "sclip_plugin.host.openclip3_hooks"}

#: route of a host that has the extension point of `patches/` and drives the plugin itself
PATCHED = "patched open_clip"
EXTENSION_POINT = b"open_clip_train.plugins"  # what its patched modules import

#: how the plugin was activated in this process: "import hook", "explicit main", PATCHED, or None
route: str | None = None


def host_version() -> str | None:
    """The version of the installed open_clip_torch, or None."""
    try:
        return version("open_clip_torch")
    except PackageNotFoundError:
        return None


def unsupported() -> str | None:
    """One line that names both versions where this plugin does not support the installed host, else None."""
    from sclip_plugin._version import __version__

    found = host_version()
    if found is None:
        return f"sclip-plugin {__version__} needs open_clip_torch 3.x, which is not installed"
    if found.split(".")[0] not in SUPPORTED:
        return f"sclip-plugin {__version__} supports open_clip_torch 3.x, but open_clip_torch {found} is installed"
    if patched() is None:
        return "open_clip_train is half patched: see `sclip patch status`; apply or revert completes it"
    return None


def patched() -> bool | None:
    """Whether the installed open_clip_train drives plugins itself; None where only half of it does (a broken patch)."""
    spec = find_spec("open_clip_train")
    if spec is None or not spec.submodule_search_locations:
        return False
    folder = Path(spec.submodule_search_locations[0])
    found = {_imports_extension_point(folder / name) for name in ("params.py", "main.py")}
    return found.pop() if len(found) == 1 else None


def _imports_extension_point(path: Path) -> bool:
    return path.is_file() and EXTENSION_POINT in path.read_bytes()


def install(how: str) -> None:
    """Put the plugin's hooks into open_clip_train; a second call does nothing.

    On a patched host the hooks stand down. On an unsupported one only the argument parser is hooked, to refuse
    `--loss sclip` with one clear line.

    Raises:
        DataError: a half-patched host, which neither hooks nor its extension point can serve.
    """
    global route
    if route is not None:
        return
    state = patched()
    if state is None:
        from sclip_plugin.errors import DataError

        raise DataError(str(unsupported()))
    route = PATCHED if state else how
    if state:
        return
    found = host_version()
    major = (found or "3").split(".")[0]
    import_module(SUPPORTED.get(major, "sclip_plugin.host.refusal")).install()


def active() -> bool:
    """Whether `open_clip_train.main --loss sclip` reaches the plugin in this process's environment.

    A patched host finds the plugin by its entry point; the parser of a stock one must have been hooked. The function
    imports torch and open_clip_train's parser, which is what sets the hook.
    """
    import torch  # noqa: F401 (its import calls the plugin's entry point)

    if patched():
        from open_clip_train.plugins import get_plugins

        return "sclip" in get_plugins()
    from open_clip_train.params import parse_args

    return hasattr(parse_args, "__wrapped__")
