"""The keys of a data set, which must not occur twice."""

import os
import sqlite3
import tempfile
from types import TracebackType

from sclip_plugin.errors import DataError
from sclip_plugin.storage.location import Location


class SeenKeys:
    """Every key that has come, without case, and the shard in which it came.

    They stand in a temporary database, so that memory does not grow with their number. Use it as a context manager,
    which removes the database at the end.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("")
        self._db.execute("CREATE TABLE keys (key BLOB PRIMARY KEY, place BLOB) WITHOUT ROWID")

    def __enter__(self) -> "SeenKeys":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def add(self, key: str, shard: Location) -> str | None:
        """Remember a key of a shard; returns the shard in which it came before, as `paired/000000.tar`, or None.

        Raises:
            DataError: the temporary database cannot be written: a full disk, say.
        """
        row = (_packed(key.casefold()), _packed(f"{shard.parent.name}/{shard.name}"))
        try:
            if self._db.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", row).rowcount:
                return None
        except sqlite3.OperationalError as error:
            raise DataError(f"{tempfile.gettempdir()}: temporary file: {error}") from None
        (before,) = self._db.execute("SELECT place FROM keys WHERE key = ?", row[:1]).fetchone()
        return os.fsdecode(before)


def _packed(name: str) -> bytes:
    """A name as bytes: it may come from the file system or from a tar, and be no UTF-8."""
    return name.encode("utf-8", "surrogateescape")
