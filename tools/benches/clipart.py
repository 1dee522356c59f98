"""The clip-art bench: drawings by hundreds of people with the titles, keywords and folders that they were given.

    pip install resvg-py        # and apt, which needs no root for this
    python -m tools.benches.clipart --out build/clip-art

Writes DIR/images/FOLDER/NAME.png (64 pixels), DIR/captions.csv with the columns filepath, caption, label, designer,
group and split, DIR/classes.txt and DIR/NOTICE.txt. The drawings are Debian's package of the Open Clip Art Library,
release 0.18 of 2005, all in the public domain. Captions are made from their metadata alone (`tools/openclipart.py`);
labels are their folders. A drawing of a mixed folder, or of several folders of different classes, has no label.

Drawings that look alike, or have the same creator and the same name but for numbers, colours and directions, are a
group. Splits, by a hash of the group: `train` is what shares of pairs are taken from, `val` is for choosing, `test` for
reporting. No setting of this project was chosen on this bench.

    sclip convert DIR/captions.csv --split-column split --val-split test --paired-ratio 0.1 --out shards
"""

import argparse
import csv
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from sclip_plugin.errors import DataError, UsageError
from tools import alike, debian, openclipart
from tools.benches import share
from tools.openclipart import Drawing, Library
from tools.raster import draw_fitted

SIDE = 64
PACKAGE = "openclipart-svg"
VERSION = "1:0.18+dfsg-19"
INSIDE = "usr/share/openclipart/svg"
MOST = 24  # drawings of a group: the library holds 1,375 stars by one program
LEAST = 40  # drawings of a class
PALE = 6  # levels of standard deviation, in each channel: a picture with less is as good as blank
TEST, VAL = 0.2, 0.1  # shares of the groups

# The class of what is in a folder and below it; the longest folder counts. "" are mixtures.
CLASSES = {
    "animals": "",
    "animals/birds": "bird",
    "animals/bugs": "insect",
    "animals/mammals": "mammal",
    "buildings": "building",
    "buildings/furniture": "",
    "computer": "computer hardware",
    "computer/buttons": "",
    "computer/diagrams": "",
    "computer/folders": "filesystem icon",
    "computer/games": "",
    "computer/icons": "",
    "computer/icons/etiquette-theme/actions": "action icon",
    "computer/icons/etiquette-theme/apps": "application icon",
    "computer/icons/etiquette-theme/devices": "device icon",
    "computer/icons/etiquette-theme/filesystems": "filesystem icon",
    "computer/icons/etiquette-theme/mimetypes": "file type icon",
    "computer/icons/flat-theme": "filesystem icon",
    "computer/icons/flat-theme/action": "action icon",
    "computer/icons/flat-theme/applications": "application icon",
    "computer/icons/flat-theme/device": "device icon",
    "computer/icons/lemon-theme/actions": "action icon",
    "computer/icons/lemon-theme/apps": "application icon",
    "computer/icons/lemon-theme/devices": "device icon",
    "computer/icons/lemon-theme/filesystems": "filesystem icon",
    "computer/icons/lemon-theme/mimetypes": "file type icon",
    "electronics": "electronics",
    "food": "food",
    "food/beverages": "beverage",
    "food/desserts": "dessert",
    "food/fruit": "fruit",
    "geography": "geography",
    "geography/astronomy": "",
    "office": "office",
    "people": "people",
    "people/bodypart": "",
    "people/clothing": "clothing",
    "people/smilies": "smiley",
    "plants": "plant",
    "recreation/games": "toy",
    "recreation/games/cards": "card",
    "recreation/holiday": "festive",
    "recreation/music": "music",
    "recreation/party": "festive",
    "recreation/sports": "sports",
    "recreation/toys": "toy",
    "shapes": "shape",
    "shapes/arrows": "arrow",
    "signs_and_symbols": "symbol",
    "signs_and_symbols/clocks": "",
    "signs_and_symbols/flags": "flag",
    "signs_and_symbols/led": "led",
    "signs_and_symbols/map_symbols": "map symbol",
    "signs_and_symbols/weather": "",
    "special/patterns": "pattern",
    "tools": "tool",
    "tools/weapons": "",
    "transportation": "transportation",
    "transportation/aiga-symbols": "map symbol",
    "transportation/boating": "",
    "transportation/roadsigns": "road sign",
}

# words in which the names of a series differ
VARIANTS = {
    *(
        "black",
        "blue",
        "brown",
        "cyan",
        "dark",
        "gold",
        "golden",
        "gray",
        "green",
        "grey",
        "light",
        "magenta",
        "orange",
    ),
    *("pink", "purple", "red", "seagreen", "silver", "white", "yellow", "and", "large", "outline", "simple", "small"),
    *("bottom", "down", "left", "lower", "right", "top", "up", "upper"),
}


@dataclass
class Picture:
    """A drawing that has been drawn.

    Attributes:
        drawing: where it comes from.
        image: RGB, `SIDE` pixels square.
        folders: those that it or a copy of it is in.
        group: the path of its group's first drawing.
    """

    drawing: Drawing
    image: Image.Image
    folders: set[str]
    group: str = ""


def class_folder(folder: str) -> str:
    """The folder of `CLASSES` that a folder is or lies in; "" where there is none."""
    while folder and folder not in CLASSES:
        folder = folder.rpartition("/")[0]
    return folder


def class_of(folders: Iterable[str]) -> str:
    """The class of a drawing of which copies are in these folders; "" where they have different ones, or none.

    A folder in a folder says more than that one does, and a mixed folder says nothing.
    """
    known = {class_folder(folder) for folder in folders}
    last = {one for one in known if not any(other.startswith(f"{one}/") for other in known)}
    kinds = {CLASSES[one] for one in last if one} - {""}
    return kinds.pop() if len(kinds) == 1 else ""


def series(name: str) -> str:
    """What the names of a series have in common: the name without numbers but the first, colours and directions."""
    first, *others = name.split()
    words = [first, *(re.sub(r"\d+", "", word) for word in others)]
    return " ".join(word for word in words if word not in VARIANTS and len(word) > 1) or name


def split_of(group: str) -> str:
    """The split of a group; a group stays in its split whatever else is added."""
    place = share(group)
    return "test" if place < TEST else "val" if place < TEST + VAL else "train"


def read_all(root: Path) -> tuple[list[Drawing], dict[str, set[str]]]:
    """All drawings, and the folders of each one's file: its own, and those with a link to it."""
    drawings, folders = [], defaultdict(set)
    for file in tqdm(sorted(root.rglob("*.svg")), desc="reading", unit="drawing", disable=None):
        path = file.resolve().relative_to(root.resolve()).as_posix()
        folders[path].add(file.parent.relative_to(root).as_posix())
        if not file.is_symlink():
            drawings.append(openclipart.read(file, root))
    return drawings, folders


def draw_all(root: Path, drawings: Iterable[Drawing], folders: dict[str, set[str]], skipped: Counter) -> list[Picture]:
    """Draw each different picture once; what is left out is counted by reason."""
    found: dict[bytes, Picture] = {}
    for drawing in tqdm(list(drawings), desc="drawing", unit="drawing", disable=None):
        image = draw_fitted((root / drawing.path).read_text(encoding="utf-8", errors="replace"), SIDE)
        if image is None:
            skipped["nothing is drawn"] += 1
        elif np.asarray(image).std(axis=(0, 1)).max() < PALE:
            skipped["nearly blank"] += 1
        elif image.tobytes() in found:
            skipped["the same picture as another"] += 1
            found[image.tobytes()].folders |= folders[drawing.path]
        else:
            found[image.tobytes()] = Picture(drawing, image, set(folders[drawing.path]))
    return list(found.values())


def group_all(pictures: list[Picture], library: Library) -> None:
    """Say each picture's group."""
    prints = np.stack([alike.fingerprint(picture.image) for picture in pictures])
    keys = [(picture.drawing.creator, series(library.name(picture.drawing))) for picture in pictures]
    first = alike.groups(len(pictures), keys, alike.pairs(prints))
    for picture, one in zip(pictures, first):
        picture.group = pictures[one].drawing.path.removesuffix(".svg")


def thin_out(pictures: Iterable[Picture], most: int) -> list[Picture]:
    """At most so many pictures of a group, which the hash of their paths chooses; in the order of their paths."""
    taken: Counter[str] = Counter()
    kept = []
    for picture in sorted(pictures, key=lambda one: share(one.drawing.path)):
        taken[picture.group] += 1
        if taken[picture.group] <= most:
            kept.append(picture)
    return sorted(kept, key=lambda one: one.drawing.path)


def labels(pictures: Iterable[Picture], least: int) -> list[str]:
    """The label of each picture: its class, if this has so many pictures; else ""."""
    own = [class_of(picture.folders) for picture in pictures]
    counts = Counter(own)
    return [kind if counts[kind] >= least else "" for kind in own]


def build(root: Path, out: Path) -> tuple[list[tuple[str, ...]], Counter]:
    """Draw the library.

    Args:
        root: its folder.
        out: where `images/` is made.

    Returns:
        the rows of captions.csv, and how many drawings were left out, by reason.
    """
    skipped: Counter[str] = Counter()
    drawings, folders = read_all(root)
    library = Library.of(drawings)
    public = [drawing for drawing in drawings if drawing.public]
    worded = [drawing for drawing in public if library.name(drawing)]
    skipped["another licence"] = len(drawings) - len(public)
    skipped["no words"] = len(public) - len(worded)
    pictures = draw_all(root, worded, folders, skipped)
    group_all(pictures, library)
    kept = thin_out(pictures, MOST)
    skipped[f"beyond the {MOST} of a group"] = len(pictures) - len(kept)
    rows: list[tuple[str, ...]] = []
    for picture, label in zip(kept, labels(kept, LEAST)):
        drawing = picture.drawing
        path = Path("images") / Path(drawing.path).with_suffix(".png")
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        picture.image.save(out / path, "PNG", optimize=True)
        said = (label, drawing.designer, picture.group, split_of(picture.group))
        rows += [(path.as_posix(), caption, *said) for caption in library.captions(drawing)]
    return rows, skipped


def main() -> None:
    """Build the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--packages", type=Path, default=Path("build/debian"), metavar="DIR", help="where packages are kept"
    )
    args = parser.parse_args()
    try:
        make(args.out, args.packages)
    except UsageError as error:
        parser.error(str(error))
    except DataError as error:
        sys.exit(f"{parser.prog}: error: {error}")


def make(out: Path, packages: Path) -> None:
    """Fetch the package and write the bench; the folder appears when it is whole.

    Raises:
        UsageError: the folder exists already, or this machine has no apt.
        DataError: the package cannot be fetched.
    """
    if out.exists():
        raise UsageError(f"--out {out}: it exists already; remove it to build it again")
    package = debian.fetch(PACKAGE, VERSION, packages)
    aside = out.with_name(f"{out.name}.part")
    if aside.exists():
        raise UsageError(f"{aside}: an earlier call has left it; remove it to build again")
    rows, skipped = build(package / INSIDE, aside)
    kinds = sorted({row[2] for row in rows} - {""})
    with open(aside / "captions.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("filepath", "caption", "label", "designer", "group", "split"), *rows])
    (aside / "classes.txt").write_text("".join(f"{kind}\n" for kind in kinds), encoding="utf-8")
    (aside / "NOTICE.txt").write_text(
        f"Open Clip Art Library 0.18, by its contributors (column designer), public domain; Debian's package {PACKAGE} "
        f"{VERSION}, whose copyright file has the dedication\n",
        encoding="utf-8",
    )
    aside.rename(out)
    tell(rows, skipped, out)


def tell(rows: Iterable[tuple[str, ...]], skipped: Counter, out: Path) -> None:
    """Print what was made."""
    rows = list(rows)
    pictures = {row[0]: row for row in rows}
    splits = dict(Counter(row[5] for row in pictures.values()))
    labelled = sum(1 for row in pictures.values() if row[2])
    groups = len({row[4] for row in rows})
    classes = Counter(row[2] for row in pictures.values() if row[2])
    print(f"{len(pictures)} drawings in {groups} groups, {labelled} of {len(classes)} classes: {splits} -> {out}")
    print(f"left out: {', '.join(f'{reason}: {number}' for reason, number in skipped.items())}")
    print(f"classes: {', '.join(f'{kind} {number}' for kind, number in classes.most_common())}")


if __name__ == "__main__":
    main()
