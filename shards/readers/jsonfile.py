"""JSON files too large for memory: what is in them, and their items one by one."""

import glob
import os
from collections.abc import Iterator
from typing import Any

import ijson

from sclip_plugin.errors import DataError


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
    try:
        with open(path, "rb") as file:
            yield from ijson.items(file, prefix, use_float=True)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not JSON: {' '.join(str(error).split())}") from None


def first_item(path: str, prefix: str) -> dict[str, Any]:
    """The first object at a prefix; {} where there is none, or where `path` is no JSON file."""
    if not (os.path.isfile(path) and path.lower().endswith(".json")):
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
    found = sorted(glob.glob(os.path.join(glob.escape(source), pattern))) if os.path.isdir(source) else [source]
    found = [path for path in found if fields <= first_item(path, prefix).keys()]
    return found[0] if len(found) == 1 else None
