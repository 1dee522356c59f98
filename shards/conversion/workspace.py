"""The scratch folder of a conversion, inside its output folder.

One process at a time holds it. It is removed at the end, whatever happens.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from sclip_plugin.errors import DataError
from sclip_plugin.locking import locked
from sclip_plugin.shards.conversion.index import SampleIndex
from sclip_plugin.shards.conversion.writer import PROGRESS
from sclip_plugin.storage.lease import lease
from sclip_plugin.storage.location import Location, RemotePath

INDEX: Final = "index.sqlite"
SPOOL: Final = "spool"
LOCK: Final = "lock"


@contextmanager
def workspace(root: Location) -> Iterator[tuple[SampleIndex, Path]]:
    """An empty index, and a folder for spooled images that is made when it is needed, both below `root`.

    Where `root` is in a store they are in the folder for temporary files, and a lease stands for the lock
    (`storage/lease.py`).

    What a killed run left of them is removed first. At the end both are removed, and so are the folders that this
    function made and that are empty then.

    Raises:
        UsageError: another process converts into `root`.
        DataError: `root` is no folder, the index cannot be written, or a store does not take the lease.
    """
    if isinstance(root, RemotePath):
        with (
            lease(root.url, f"{root.url}/{PROGRESS}/{LOCK}", _busy(root)),
            tempfile.TemporaryDirectory(prefix="sclip-") as aside,
            _index(Path(aside) / INDEX) as index,
        ):
            yield index, Path(aside) / SPOOL
        return
    if os.path.lexists(root) and not root.is_dir():
        raise DataError(f"--out: {root} is not a folder")
    made = [folder for folder in (*reversed(root.parents), root) if not folder.exists()]
    scratch = root / PROGRESS
    try:
        with locked(scratch / LOCK, _busy(root)):
            shutil.rmtree(scratch / SPOOL, ignore_errors=True)
            try:
                with _index(scratch / INDEX) as index:
                    yield index, scratch / SPOOL
            finally:
                shutil.rmtree(scratch / SPOOL, ignore_errors=True)
    finally:
        for folder in (scratch, *reversed(made)):
            with suppress(OSError):
                os.rmdir(folder)


def _busy(root: Location) -> str:
    return f"--out: {root}: another sclip convert or sclip split is at work there"


@contextmanager
def _index(path: Path) -> Iterator[SampleIndex]:
    """An empty index, whose file is removed at the end.

    Raises:
        DataError: the index cannot be written.
    """
    index = None
    try:
        index = SampleIndex(path)
        yield index
    except sqlite3.Error as error:  # a full disk, say
        if index and index.interrupted:  # SQLite reports whatever a function of ours raises in words of its own
            raise index.interrupted[0] from None
        raise DataError(f"{path}: {error}") from None
    finally:
        if index:
            index.close()
        path.unlink(missing_ok=True)
