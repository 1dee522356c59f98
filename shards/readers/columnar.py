"""Tables with the images inside (parquet, Arrow): rows with `struct<bytes, path>` or binary images.

Images are copied once, in the order of the rows, to a spool file for each file of the source, in the conversion's
scratch folder, from where they can be read in any order; it is removed at the end. Needs pyarrow.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, BinaryIO

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.shards.locator import SliceImage
from sclip_plugin.shards.readers.base import Record
from sclip_plugin.shards.readers.columns import find_columns
from sclip_plugin.shards.readers.fields import Fields
from sclip_plugin.shards.sample import Sample, Tally
from sclip_plugin.storage.location import Location, RemotePath
from sclip_plugin.storage.outputs import whole_file

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
    """A file to which images are appended; they can be read when the block has ended.

    Args:
        path: of the file, which is made with the first image. In a store it appears at the end of the block.
    """

    def __init__(self, path: Location) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._open = ExitStack()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._errors():
            self._open.__exit__(kind, error, trace)

    def add(self, data: bytes) -> SliceImage:
        """Append an image; returns where it is.

        Raises:
            DataError: the file cannot be written.
        """
        with self._errors():
            if self._file is None:
                self._file = self._open.enter_context(self._made())
            offset = self._file.tell()
            self._file.write(data)
        return SliceImage(str(self.path), offset, len(data))

    def _made(self) -> AbstractContextManager[BinaryIO]:
        if isinstance(self.path, RemotePath):
            return whole_file(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return open(self.path, "wb")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """A full disk is told of this file, and not of the one that is read."""
        try:
            yield
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror or error}") from None


@dataclass(frozen=True)
class RowFile:
    """A file of rows, as a part of its source.

    Attributes:
        source: what messages call the source.
        path: of the file.
        name: of the file; it stands before each image's number.
        batches: gives the rows of a file.
        split: of rows that do not name theirs.
        given: {role: column} by the user.
        captions: whether a caption column is needed.
        spool: the file to which the images go.
    """

    source: str
    path: str
    name: str
    batches: Callable[[str], Iterator["RecordBatch"]]
    split: str | None
    given: dict[str, str]
    captions: bool
    spool: Location

    def samples(self, tally: Tally) -> Iterator[Sample]:
        """The samples of the rows, in order; see `Part`.

        Raises:
            UsageError: a column that is needed is missing.
            DataError: the file is damaged, or the spool cannot be written.
        """
        with arrow_errors(self.path), Spool(self.spool) as spool:
            rows = RowSamples(self.source, self.given, self.captions, spool, tally)
            yield from rows.samples(self.name, self.batches(self.path), self.split)


class RowSamples:
    """Samples of the rows of record batches.

    Args:
        source: what messages call the source.
        given: {role: column} by the user.
        captions: whether a caption column is needed.
        spool: where the images go.
        tally: what is left out is counted here.
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
