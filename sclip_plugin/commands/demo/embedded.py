"""What the demo carries with it: two benches with captions, and a small start model for each.

`emoji.zip` holds 6,123 emoji of ten designers in 35 classes, `icons.zip` 2,943 Material Design Icons by Pictogrammers
of the 25 themes with at least 50 icons; licences and authors are inside. The start models are small CLIPs pretrained on
other icon sets: `start.zip` by `tools/start_model/pretrain.py` (`NOTICE-start.txt` names the sets), `emoji-start.zip`
by `tools/start_model/colour.py` from it.
"""

import csv
import io
import zipfile
from pathlib import Path

from sclip_plugin.atomic import write_atomic
from sclip_plugin.errors import DataError

FOLDER = Path(__file__).parent
EMOJI, EMOJI_START = "emoji.zip", "emoji-start.zip"
ICONS, START = "icons.zip", "start.zip"
BENCHES = {"emoji": (EMOJI, EMOJI_START), "icons": (ICONS, START)}  # name → its data, its start model
MARKER = ".complete"


def unpack_bench(name: str, target: Path) -> None:
    """Unpack a bench into `target / name`, and its start model into `target / "start"`.

    Args:
        name: one of `BENCHES`.
        target: the folder for both.

    Raises:
        DataError: an archive is missing from the installation or damaged, or the disk is full.
    """
    data, start = BENCHES[name]
    unpack(data, target / name)
    unpack(start, target / "start")


def unpack(name: str, target: Path) -> Path:
    """Unpack one of the embedded archives, once: a folder without its marker is written again.

    Args:
        name: one of the archives in `BENCHES`.
        target: the folder for its files.

    Returns:
        `target`.

    Raises:
        DataError: the archive is missing from the installation or damaged; or the folder holds another archive.
    """
    marker = target / MARKER
    if marker.exists():
        found = marker.read_text(encoding="utf-8", errors="replace")
        if found != name:
            raise DataError(f"{target} holds {found or 'another archive'!r}, not {name!r}: choose another folder")
        return target
    try:
        with zipfile.ZipFile(FOLDER / name) as archive:
            archive.extractall(target)
    except (FileNotFoundError, zipfile.BadZipFile) as error:
        raise DataError(f"embedded {name}: {error}; reinstall sclip-plugin") from None
    except OSError as error:  # a full disk, say
        raise DataError(f"{target}: {error.strerror or error}") from None
    write_atomic(marker, name)
    return target


def images_and_captions() -> tuple[dict[str, bytes], list[dict[str, str]]]:
    """The icons' PNG bytes by file path, and the rows of `captions.csv` (filepath, caption, label, group)."""
    with zipfile.ZipFile(FOLDER / ICONS) as archive:
        rows = list(csv.DictReader(io.TextIOWrapper(archive.open("captions.csv"), encoding="utf-8", newline="")))
        names = dict.fromkeys(row["filepath"] for row in rows)
        return {name: archive.read(name) for name in names}, rows
