"""The scratch folder of a conversion, inside its output: gone again where nothing came of it."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sclip_plugin.errors import DataError
from sclip_plugin.shards.conversion.index import SampleIndex
from sclip_plugin.shards.conversion.writer import PROGRESS

INDEX, SPOOL = "index.sqlite", "spool"


@contextmanager
def workspace(root: Path) -> Iterator[tuple[SampleIndex, Path]]:
    """(an empty index, a folder for spooled images) below `root`; both are removed at the end.

    What a killed run left of them is removed first. Folders that are empty then, and were not there before, go too.

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
