"""The scratch folder of a conversion, inside its output folder. It is removed at the end, whatever happens."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from sclip_plugin.errors import DataError
from sclip_plugin.shards.conversion.index import SampleIndex
from sclip_plugin.shards.conversion.writer import PROGRESS

INDEX: Final = "index.sqlite"
SPOOL: Final = "spool"


@contextmanager
def workspace(root: Path) -> Iterator[tuple[SampleIndex, Path]]:
    """An empty index, and a folder for spooled images that is made when it is needed, both below `root`.

    What a killed run left of them is removed first. At the end both are removed, and so are the folders that this
    function made and that are empty then.

    Raises:
        DataError: the index cannot be written.
    """
    made = [folder for folder in (*reversed(root.parents), root) if not folder.exists()]
    scratch = root / PROGRESS
    shutil.rmtree(scratch / SPOOL, ignore_errors=True)
    index = SampleIndex(scratch / INDEX)
    try:
        yield index, scratch / SPOOL
    except sqlite3.OperationalError as error:  # a full disk, say
        raise DataError(f"{scratch / INDEX}: {error}") from None
    finally:
        index.close()
        (scratch / INDEX).unlink(missing_ok=True)
        shutil.rmtree(scratch / SPOOL, ignore_errors=True)
        for folder in (scratch, *reversed(made)):
            with suppress(OSError):
                os.rmdir(folder)
