"""URLs and paths: telling one from the other, and the filesystem that a URL names.

A filesystem is asked for anew at each use and kept by nobody: fsspec keeps one for each process, so that a forked
DataLoader worker gets its own, with an event loop of its own. What the worker has inherited must not be cleaned up
there: closing an inherited connection takes it out of the list of connections that the parent waits for, since the two
share this list, and the parent's next request gets no answer.
"""

import os
import re
import sys
from typing import TYPE_CHECKING, Final

from sclip_plugin.errors import DataError, UsageError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PIPE: Final = "pipe:"
LOCAL: Final = ("file", "local")  # fsspec's names of the local disk
WEB: Final = ("http", "https")  # no store, but a server that may not list its folders
#: what installs the package that a scheme needs
EXTRAS: Final = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "hf": "hub",
    "http": "http",
    "https": "http",
}
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


_held: list[object] = []  # in a forked process: the filesystems that the parent had, for ever


def _hold() -> None:
    """Before a fork: hold on to this process's filesystems, of which fsspec lets go in the child."""
    fsspec = sys.modules.get("fsspec.registry")
    _held.append([] if fsspec is None else [dict(kind._cache) for kind in fsspec.registry.values()])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_held.pop)


def is_url(text: str) -> bool:
    """True for `scheme://…`; False for paths and for pipes."""
    return _SCHEME.match(text) is not None


def scheme(url: str) -> str:
    """The scheme of a URL, in lower case; "" of anything else."""
    found = _SCHEME.match(url)
    return found[1].lower() if found else ""


def plain(text: str) -> str:
    """A `file://` URL as the path that it means; anything else as it is."""
    return text[text.index("://") + 3 :] if scheme(text) in LOCAL else text


def join(folder: str, name: str) -> str:
    """The URL of something in a folder."""
    return f"{folder.rstrip('/')}/{name}"


def filesystem(url: str) -> "tuple[AbstractFileSystem, str]":
    """The filesystem of a URL, and what the URL is called in it.

    Raises:
        UsageError: the package that reaches it is not installed; says how to install it.
        DataError: nobody knows the scheme, or the URL is none that the filesystem takes.
    """
    from fsspec.core import url_to_fs

    kind = scheme(url)
    try:
        found, path = url_to_fs(url)
    except ImportError as error:
        extra = EXTRAS.get(kind)
        how = f"pip install 'sclip-plugin[{extra}]'" if extra else " ".join(str(error).split())
        raise UsageError(f"{url}: {kind}:// needs a package that is not installed: {how}") from None
    except ValueError as error:
        raise DataError(f"{url}: {' '.join(str(error).split())}") from None
    return found, path
