"""JSON files: those too large for memory item by item, small ones as a whole.

Whatever is wrong with a file becomes a `DataError` that names it: what is not JSON, or is nested without end.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

import ijson

from sclip_plugin.errors import DataError
from sclip_plugin.storage import places
from sclip_plugin.storage.location import location

DEEPEST: Final = 100  # lists and objects in each other (ours); ijson's memory grows with the square of the depth
_BOM = b"\xef\xbb\xbf"
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_NO_BRACKET = bytes(sorted(set(range(256)) - set(b"[]{}")))


class _ShallowFile:
    """The bytes of a JSON file without its byte-order mark, for ijson; refuses a file that is nested too deeply."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._depth = file, 0
        self._in_string, self._rest = (
            False,
            b"",
        )  # of what was read last: whether it ends in a string, a `\\` at its end
        if file.read(len(_BOM)) != _BOM:
            file.seek(0)

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises:
            ValueError: they are nested too deeply.
        """
        data = self._file.read(size)
        plain = _ESCAPED.sub(b"", self._rest + data)
        self._rest = b"\\" if plain.endswith(b"\\") else b""
        parts = plain.split(b'"')
        brackets = b"".join(parts[self._in_string :: 2]).translate(None, _NO_BRACKET)
        self._in_string ^= len(parts) % 2 == 0
        if brackets:
            import numpy as np  # it takes longer to import than all readers together

            codes = np.frombuffer(brackets, dtype=np.uint8)
            depths = self._depth + np.cumsum(np.where((codes == ord("[")) | (codes == ord("{")), 1, -1))
            if depths.max() > DEEPEST:
                raise ValueError(f"lists or objects are nested more than {DEEPEST} times")
            self._depth = int(depths[-1])
        return data


def events(path: str) -> Iterator[tuple[str, str, Any]]:
    """(prefix, event, value) of a JSON file, as ijson gives them.

    Raises:
        DataError: the file is not JSON.
    """
    with json_errors(path), places.opened(path) as file:
        yield from ijson.parse(_ShallowFile(file), use_float=True)


@contextmanager
def json_errors(where: str) -> Iterator[None]:
    """What parsers of JSON raise becomes a `DataError` that names the file or the line."""
    try:
        yield
    except RecursionError:
        raise DataError(f"{where}: not JSON: nested too deeply") from None
    except (ValueError, ijson.JSONError) as error:
        raise DataError(f"{where}: not JSON: {' '.join(str(error).split())}") from None


def read_object(path: str) -> dict[str, Any]:
    """The JSON object in a small file.

    Raises:
        DataError: there is something else in it.
        OSError: it cannot be read.
    """
    return parse_object(location(path).read_bytes(), path)


def parse_object(data: bytes, where: str) -> dict[str, Any]:
    """The JSON object in UTF-8 text; a byte-order mark does not count.

    Raises:
        DataError: there is something else; `where` names its place.
    """
    with json_errors(where):
        found = json.loads(data.decode("utf-8-sig"))
    if not isinstance(found, dict):
        raise DataError(f"{where}: not a JSON object")
    return found


def check_json(path: str) -> None:
    """Say what is wrong with a `.json` file in which nothing was recognised; nothing where it is JSON.

    Raises:
        DataError: it is not JSON.
    """
    if places.is_file(path) and path.lower().endswith(".json"):
        for _ in events(path):
            pass


def objects(path: str, prefix: str, what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object) of the objects at a prefix.

    Args:
        path: the JSON file.
        prefix: where they are, as ijson says it: `images.item` for those of the list under `images`.
        what: what a place calls one of them, before its number.

    Raises:
        DataError: the file is not JSON, or something else than an object is there.
    """
    for number, found in enumerate(_items(path, prefix), 1):
        where = f"{path}: {what} {number}"
        if not isinstance(found, dict):
            raise DataError(f"{where}: not a JSON object")
        yield where, found


def _items(path: str, prefix: str) -> Iterator[object]:
    with json_errors(path), places.opened(path) as file:
        yield from ijson.items(_ShallowFile(file), prefix, use_float=True)


def first_item(path: str, prefix: str) -> dict[str, Any]:
    """The first object at a prefix; {} where there is none, or where `path` is no JSON file."""
    if not (places.is_file(path) and path.lower().endswith(".json")):
        return {}
    try:
        _, found = next(objects(path, prefix, "item"), ("", {}))
    except DataError:
        return {}
    return found


def only_json(source: str, pattern: str, prefix: str, fields: set[str]) -> str | None:
    """A JSON file by what is in it: `source` itself, or the one file in it that matches.

    Args:
        source: a file or folder.
        pattern: of file names, where `source` is a folder.
        prefix: of the items that tell the format.
        fields: what the first of these items must have.

    Returns:
        None where no file matches, or several.
    """
    found = places.listed(source, pattern) if places.is_dir(source) else [source]
    found = [path for path in found if fields <= first_item(path, prefix).keys()]
    return found[0] if len(found) == 1 else None
