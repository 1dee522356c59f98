"""Host modules: one for each generation of open_clip_train; nothing else knows its internals.

`install(route)` picks the module for the open_clip that is installed. It is called once in a process.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

SUPPORTED = {"3": "sclip_plugin.host.openclip3"}

#: how the plugin was activated in this process: "import hook", "explicit main", or None
route: str | None = None


def host_version() -> str | None:
    """Version of the open_clip_torch installed, or None."""
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
    return None


def install(how: str) -> None:
    """Put the plugin's hooks into open_clip_train; a second call does nothing.

    On an unsupported host only the argument parser is hooked, to refuse `--loss sclip` with one clear line.
    """
    global route
    if route is not None:
        return
    route = how
    found = host_version()
    major = (found or "3").split(".")[0]
    import_module(SUPPORTED.get(major, "sclip_plugin.host.refusal")).install()
