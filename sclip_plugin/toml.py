"""Reading TOML files: studies and recipes."""

import sys
from pathlib import Path
from typing import Any

from sclip_plugin.errors import DataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def load_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        DataError: the file is missing, not UTF-8 text or not TOML; names the file and, for bad TOML, the line.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        return tomllib.loads(text.replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except RecursionError:
        raise DataError(f"{path}: not valid TOML: nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
