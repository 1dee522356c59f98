"""Reading TOML files: studies and recipes."""

import sys
from pathlib import Path
from typing import Any, Final

from sclip_plugin.errors import DataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEEPEST: Final = 50  # levels of tables and lists; studies and recipes have five


def load_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        DataError: the file is missing, not UTF-8 text or not TOML; names the file and, for bad TOML, the line.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        found = tomllib.loads(text.replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except RecursionError:
        raise DataError(f"{path}: not valid TOML: nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, and numbers of more digits than Python converts
        raise DataError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    if _deeper_than(found, DEEPEST):
        raise DataError(f"{path}: not valid TOML: nested too deeply")
    return found


def _deeper_than(value: object, levels: int) -> bool:
    """True where tables and lists are nested deeper than that, which dotted keys do without recursion."""
    layer = [value]
    for _ in range(levels):
        layer = [below for one in layer for below in _inside(one)]
    return bool(layer)


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
