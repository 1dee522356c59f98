"""JSON files too large for memory: what is in them, and their items one by one."""

import glob
import os
from collections.abc import Iterator

import ijson

from sclip_plugin.errors import DataError


def items(path: str, prefix: str) -> Iterator[dict]:
    """The items at a prefix, `images.item` say.

    Raises:
        DataError: not JSON.
    """
    try:
        with open(path, "rb") as file:
            yield from ijson.items(file, prefix, use_float=True)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not JSON: {' '.join(str(error).split())}") from None


def first_item(path: str, prefix: str) -> dict:
    """The first item at a prefix; {} without any, or where `path` is no JSON file."""
    if not (os.path.isfile(path) and path.lower().endswith(".json")):
        return {}
    try:
        found = next(items(path, prefix), {})
    except DataError:
        return {}
    return found if isinstance(found, dict) else {}


def only_json(source: str, pattern: str, prefix: str, fields: set[str]) -> str | None:
    """`source`, or the one file matching `pattern` in it, if its first item at `prefix` has all `fields`."""
    found = sorted(glob.glob(os.path.join(glob.escape(source), pattern))) if os.path.isdir(source) else [source]
    found = [path for path in found if fields <= first_item(path, prefix).keys()]
    return found[0] if len(found) == 1 else None
