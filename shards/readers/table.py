"""CSV and TSV: one row per caption; an image may have several rows."""

import csv
import os
from collections.abc import Iterator

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import Record
from sclip_plugin.shards.readers.records import RecordReader

SEPARATORS = ",\t;|"
SUFFIXES = (".csv", ".tsv", ".txt", ".tab")


def csv_records(path: str) -> Iterator[tuple[str, Record]]:
    """(place, {column: cell}) of each row; the separator is the one that the header holds most of.

    Raises:
        DataError: there is no header, no UTF-8 text, or no table; names the file.
    """
    csv.field_size_limit(1 << 24)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            if not header.strip():
                raise DataError(f"{path}: no header line")
            file.seek(0)
            rows = csv.reader(file, delimiter=max(SEPARATORS, key=header.count))
            names = [name.strip() for name in next(rows)]
            for row in rows:
                if row:
                    cells = [*(cell.strip() for cell in row), *[""] * (len(names) - len(row))]
                    yield f"{path}: line {rows.line_num}", dict(zip(names, cells))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path}: {error}") from None


class TableReader(RecordReader):
    """Reads a table with a header line."""

    form = "table"

    @staticmethod
    def read(path: str) -> Iterator[tuple[str, Record]]:
        """(place, {column: cell}) of each row."""
        return csv_records(path)

    @classmethod
    def recognises(cls, source: str) -> bool:
        """True for a file with a suffix of tables."""
        return os.path.isfile(source) and source.lower().endswith(SUFFIXES)
