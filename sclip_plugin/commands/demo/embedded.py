"""What the demo carries with it: icons with captions (`icons.zip`) and a small start model (`start.zip`).

The icons are 2,943 Material Design Icons by Pictogrammers, of the 25 themes with at least 50 icons, under Apache 2.0
(its text is inside). The start model is a CLIP pretrained on other icon sets by `tools/start_model/pretrain.py`;
`NOTICE-start.txt` names them.
"""

import csv
import io
import os
import zipfile
from pathlib import Path

from sclip_plugin.errors import DataError

FOLDER = Path(__file__).parent
ICONS, START = "icons.zip", "start.zip"
MARKER = ".complete"


def unpack(name: str, target: Path) -> Path:
    """Unpack one of the embedded archives, once: a folder without its marker is written again.

    Args:
        name: `ICONS` or `START`.
        target: the folder for its files.

    Returns:
        `target`.

    Raises:
        DataError: the archive is missing from the installation or damaged.
    """
    if (target / MARKER).exists():
        return target
    try:
        with zipfile.ZipFile(FOLDER / name) as archive:
            archive.extractall(target)
    except (FileNotFoundError, zipfile.BadZipFile) as error:
        raise DataError(f"embedded {name}: {error}; reinstall sclip-plugin") from None
    except OSError as error:  # a full disk, say
        raise DataError(f"{target}: {error.strerror or error}") from None
    with open(target / MARKER, "w") as file:
        file.flush()
        os.fsync(file.fileno())
    return target


def images_and_captions() -> tuple[dict[str, bytes], list[dict[str, str]]]:
    """The icons' PNG bytes by file path, and the rows of `captions.csv` (filepath, caption, label, group)."""
    with zipfile.ZipFile(FOLDER / ICONS) as archive:
        rows = list(csv.DictReader(io.TextIOWrapper(archive.open("captions.csv"), encoding="utf-8", newline="")))
        names = dict.fromkeys(row["filepath"] for row in rows)
        return {name: archive.read(name) for name in names}, rows
