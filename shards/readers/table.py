"""CSV and TSV: one row per caption; an image may have several rows."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Final

from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import Misfit, Record
from sclip_plugin.shards.readers.files import SUFFIXES as IMAGE_SUFFIXES
from sclip_plugin.shards.readers.records import RecordReader
from sclip_plugin.storage import places

SEPARATORS: Final = ",\t;|"
SUFFIXES: Final = (".csv", ".tsv", ".txt", ".tab")
LONGEST: Final = 1 << 24  # characters of a cell (ours)


def csv_records(path: str) -> Iterator[tuple[str, Record]]:
    """(place, {column: cell}) of each row; the separator is the one that the header holds most of.

    A row with more or fewer cells than the header comes as a `Misfit`. Quotes are read strictly: where one does not
    close, or closes in the middle of a cell, a reader that goes on would swallow the rows that follow.

    Raises:
        DataError: there is no header, no UTF-8 text, no table, or a quote that stands alone; names the file.
    """
    csv.field_size_limit(LONGEST)
    first = 1  # line in which the row begins
    try:
        with io.TextIOWrapper(places.opened(path), encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            if not header.strip():
                raise DataError(f"{path}: no header line")
            file.seek(0)
            separator = max(SEPARATORS, key=header.count)
            rows = csv.reader(file, delimiter=separator, strict=True)
            names = _names(path, next(rows))
            images: set[int] = set()  # columns in which an image is named
            while True:
                first = rows.line_num + 1
                row = next(rows, None)
                if row is None:
                    return
                where = f"{path}: line {first}"
                images = images or _image_columns(row)
                if _swallows(row, separator, images):
                    raise csv.Error("a quoted cell holds other rows")
                if any(cell.strip() for cell in row):
                    yield where, _record(names, [cell.strip() for cell in row])
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from None
    except csv.Error as error:
        hint = 'look for a " that stands alone; inside a quoted cell it is written ""'
        raise DataError(f"{path}: line {first}: {error}; {hint}") from None


def _names(path: str, header: Sequence[str]) -> list[str]:
    """The names of the columns.

    Raises:
        DataError: one of them comes twice.
    """
    names = [name.strip() for name in header]
    twice = next((name for number, name in enumerate(names) if name and name in names[:number]), None)
    if twice is not None:
        raise DataError(f"{path}: line 1: the header names the column {twice!r} twice")
    return names


def _record(names: Sequence[str], cells: list[str]) -> Record:
    """The row as a record; empty cells behind the header's last one do not count."""
    while len(cells) > len(names) and not cells[-1]:
        cells.pop()
    if len(cells) != len(names):
        return Misfit(names, f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}, but the header has {len(names)}")
    return dict(zip(names, cells))


def _image_columns(row: Sequence[str]) -> set[int]:
    """The columns of a row whose cells begin with the name of an image."""
    return {number for number, cell in enumerate(row) if _names_image(cell.partition("\n")[0])}


def _swallows(row: Sequence[str], separator: str, images: set[int]) -> bool:
    """True where a cell of several lines holds rows of the table: one of its lines names an image in the same column.

    A quote that stands alone and one further below make such a cell. Captions of several lines are no rows.
    """
    lines = [line.split(separator) for cell in row if "\n" in cell or "\r" in cell for line in cell.splitlines()[1:]]
    return any(number < len(line) and _names_image(line[number]) for line in lines for number in images)


def _names_image(cell: str) -> bool:
    """True for a name with the suffix of an image and without spaces: "see a.jpg" is rather a part of a caption."""
    stem, _, suffix = cell.strip().strip('"').rpartition(".")
    return bool(stem) and " " not in stem and suffix.lower() in IMAGE_SUFFIXES


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
        return places.is_file(source) and source.lower().endswith(SUFFIXES)
