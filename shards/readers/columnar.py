"""Tables with the images inside (parquet, Arrow): rows with `struct<bytes, path>` or binary images.

Images are copied once, in the order of the source, to a spool file in the conversion's scratch folder, from where they
can be read in any order; it is removed at the end. Needs pyarrow.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.shards.locator import SliceImage
from sclip_plugin.shards.readers.base import Record
from sclip_plugin.shards.readers.columns import find_columns
from sclip_plugin.shards.readers.fields import Fields
from sclip_plugin.shards.sample import Sample, Tally

if TYPE_CHECKING:
    from pyarrow import Array, RecordBatch, Scalar, Schema

BATCH = 256  # rows in memory at a time


def pyarrow(source: str) -> ModuleType:
    """The pyarrow package.

    Args:
        source: what it is needed for, for the message.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise UsageError(f"{source}: reading it needs pyarrow: pip install 'sclip-plugin[parquet]'") from None
    return pyarrow


@contextmanager
def arrow_errors(path: str) -> Iterator[None]:
    """What pyarrow raises on damaged files becomes a `DataError` that names the file."""
    try:
        yield
    except (OSError, ValueError, KeyError, ArithmeticError, _arrow_exception()) as error:
        raise DataError(f"{path}: {' '.join(str(error).split())}") from None


def _arrow_exception() -> type[Exception]:
    """What pyarrow's errors derive from."""
    import pyarrow

    found: type[Exception] = pyarrow.ArrowException
    return found


class Unreadable:
    """Stands for a value that Python cannot hold: a date out of its range, say, or a text that is not UTF-8."""


def values(column: "Array") -> list[object]:
    """The values of a column; `Unreadable` for those that Python cannot hold."""
    try:
        found: list[object] = column.to_pylist()
    except (ValueError, ArithmeticError, _arrow_exception()):
        return [_value(one) for one in column]
    return found


def _value(scalar: "Scalar") -> object:
    try:
        found: object = scalar.as_py()
    except (ValueError, ArithmeticError, _arrow_exception()):
        return Unreadable()
    return found


def rows(batch: "RecordBatch", columns: Sequence[str]) -> Iterator[Record]:
    """{column: value} of each row."""
    for row in zip(*(values(batch.column(name)) for name in columns)):
        yield dict(zip(columns, row))


class Spool:
    """A file to which images are appended.

    Args:
        folder: where the file is made, with the first image.
        unique: what tells its name from those of other spools.
    """

    def __init__(self, folder: Path, unique: str) -> None:
        self.path = folder / f"spool-{unique}"
        self._file: BinaryIO | None = None

    def add(self, data: bytes) -> SliceImage:
        """Append an image; returns where it is. It can be read after `flush`.

        Raises:
            DataError: the file cannot be written.
        """
        with self._errors():
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(self.path, "wb")  # noqa: SIM115 (removed with its folder at the end of the run)
            offset = self._file.tell()
            self._file.write(data)
        return SliceImage(str(self.path), offset, len(data))

    def flush(self) -> None:
        """Make the images readable that were added."""
        if self._file is not None:
            with self._errors():
                self._file.flush()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """A full disk is told of this file, and not of the one that is read."""
        try:
            yield
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror or error}") from None


class RowSamples:
    """Samples of the rows of record batches.

    Args:
        source: what messages call the source.
        given: {role: column} by the user.
        captions: whether a caption column is needed.
        spool: where the images go.
        tally: of the reader.
    """

    def __init__(self, source: str, given: dict[str, str], captions: bool, spool: Spool, tally: Tally) -> None:
        self.source, self.given, self.spool, self.tally = source, given, spool, tally
        self.needed = ("image", "caption") if captions else ("image",)

    def samples(self, name: str, batches: Iterable["RecordBatch"], split: str | None) -> Iterator[Sample]:
        """The samples of one file.

        Args:
            name: of the file; it stands before each image's number.
            batches: rows of one schema.
            split: of rows that do not name theirs.

        Raises:
            UsageError: a column that is needed is missing.
        """
        columns: dict[str, str] | None = None
        names: dict[str, list[str]] = {}
        number = 0
        for batch in batches:
            if columns is None:
                columns = find_columns(batch.schema.names, self.given, self.source, self.needed)
                names = class_names(batch.schema)
            for row in rows(batch, list(columns.values())):
                number += 1
                record = {role: row[column] for role, column in columns.items()}
                label = record.get("label")
                if isinstance(label, int) and columns["label"] in names:
                    known = names[columns["label"]]
                    record["label"] = known[label] if 0 <= label < len(known) else None
                yield from self._sample(record, f"{name}-{number:07d}", f"{self.source}: {name}: row {number}", split)
            self.spool.flush()

    def _sample(self, record: Record, plain: str, where: str, split: str | None) -> Iterator[Sample]:
        image, fields = record["image"], Fields.of({**record, "image": None})
        path = image.get("path") if isinstance(image, dict) else None
        data = image.get("bytes") if isinstance(image, dict) else image
        if not isinstance(data, bytes) or not data:
            fields.skip_image("no image bytes in its row", self.tally)
        elif fields.fault:
            fields.skip_image(fields.fault, self.tally)
        else:
            fields.count(self.tally)
            yield Sample(
                f"{plain}{suffix_of(path)}",
                self.spool.add(data),
                fields.captions,
                label=fields.label,
                group=fields.group,
                split=fields.split or split,
                where=where,
            )


def suffix_of(path: object) -> str:
    """The suffix of a path, `.img` without one; keys are made without it."""
    name = str(path or "").rpartition("/")[2]
    return f".{name.rpartition('.')[2].lower()}" if "." in name else ".img"


def class_names(schema: "Schema") -> dict[str, list[str]]:
    """{column: class names} of Hugging Face's ClassLabel columns, from the schema's metadata."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        found = {name: one["names"] for name, one in features.items() if isinstance(one, dict) and "names" in one}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: list(map(str, names)) for name, names in found.items() if isinstance(names, list)}
