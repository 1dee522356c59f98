"""The emoji bench: recurring concepts, each drawn by several designers, with names, tags and classes.

    pip install resvg-py        # and the npm client
    python -m tools.benches.emoji --out build/emoji

Writes DIR/images/DESIGNER/CONCEPT.png (64 pixels), DIR/captions.csv with the columns filepath, caption, label, concept,
designer and split, DIR/classes.txt and DIR/NOTICE.txt. Designers are openly licensed sets of the npm registry; names,
tags and subgroups are Unicode's, from emojibase. Plain forms only: no skin tones, hair styles or flags.

Splits, by a hash of the file's name: `train` is what shares of pairs are taken from, `val` is for choosing, `test` for
reporting; all three are of the same designers. `shift` holds the two designers that nothing is trained on.

    sclip convert DIR/captions.csv --split-column split --val-split val --paired-ratio 0.1 --out shards
"""

import argparse
import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from tools import npm
from tools.benches import share
from tools.raster import draw, iconify_svg

SIDE = 64
NAMES = "emojibase-data@17.0.0"
DESIGNERS = {  # set → its package; the last two are the shifted domain
    "noto": "@iconify-json/noto@1.2.9",
    "noto-v1": "@iconify-json/noto-v1@1.2.5",
    "twemoji": "@iconify-json/twemoji@1.2.5",
    "fluent": "@iconify-json/fluent-emoji-flat@1.2.6",
    "emojione": "@iconify-json/emojione@1.2.3",
    "emojione-v1": "@iconify-json/emojione-v1@1.2.3",
    "fluent-3d": "@iconify-json/fluent-emoji@1.2.7",
    "streamline": "@iconify-json/streamline-emojis@1.2.4",
    "openmoji": "@iconify-json/openmoji@1.2.29",
    "fxemoji": "@iconify-json/fxemoji@1.2.2",
}
SHIFT = ("openmoji", "fxemoji")
LICENCES = {"Apache-2.0", "MIT", "CC-BY-4.0", "CC-BY-SA-4.0"}
LEAST = 60  # images of a class over all designers that are trained on

# Unicode's subgroups of things, as people say them; those with one name are one class
CLASSES = {
    "animal-mammal": "mammal",
    "animal-bird": "bird",
    "animal-amphibian": "reptile or amphibian",
    "animal-reptile": "reptile or amphibian",
    "animal-marine": "sea animal",
    "animal-bug": "bug",
    "plant-flower": "flower",
    "plant-other": "plant",
    "food-fruit": "fruit",
    "food-vegetable": "vegetable",
    "food-prepared": "prepared food",
    "food-asian": "Asian food",
    "food-sweet": "sweet food",
    "drink": "drink",
    "dishware": "dishware",
    "place-geographic": "landscape",
    "place-building": "building",
    "place-religious": "place of worship",
    "place-other": "place",
    "transport-ground": "land vehicle",
    "transport-water": "water vehicle",
    "transport-air": "aircraft",
    "time": "clock",
    "sky-weather": "sky and weather",
    "event": "celebration",
    "award-medal": "award",
    "sport": "sport",
    "game": "game",
    "arts-crafts": "arts and crafts",
    "clothing": "clothing",
    "sound": "sound",
    "music": "music",
    "musical-instrument": "musical instrument",
    "phone": "telephone",
    "computer": "computer equipment",
    "light-video": "light, film and video",
    "book-paper": "book or paper",
    "money": "money",
    "mail": "mail",
    "writing": "writing tool",
    "office": "office supply",
    "lock": "lock and key",
    "tool": "tool",
    "science": "science",
    "medical": "medical item",
    "household": "household item",
}


@dataclass(frozen=True)
class Concept:
    """One emoji as Unicode describes it.

    Attributes:
        code: its code points in hexadecimal, without variation selectors.
        name: Unicode's name.
        tags: words that people look it up by.
        kind: its class, from `CLASSES`.
    """

    code: str
    name: str
    tags: tuple[str, ...]
    kind: str

    def captions(self) -> list[str]:
        """Short captions that share words with other concepts' captions: name, tags, class."""
        words = [tag for tag in self.tags if tag not in self.name.split()]
        found = [self.name, f"{self.name}, {self.kind}"]
        if words:
            found.append(f"{self.name}: {', '.join(words[:3])}")
        if len(words) > 3:
            found.append(", ".join(words[3:7]))
        return found


def plain(code: str) -> str:
    """Code points without the variation selector, which does not change what an emoji shows."""
    return "-".join(part for part in code.upper().split("-") if part != "FE0F")


def slug(name: str) -> str:
    """A name as icon sets write it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower().replace("’", "").replace("'", "")).strip("-")


def concepts(package: Path) -> dict[str, Concept]:
    """The concepts of `CLASSES` by their code points."""
    subgroups = {
        one["order"]: one["key"] for one in json.loads((package / "en" / "messages.json").read_text())["subgroups"]
    }
    found = {}
    for entry in json.loads((package / "en" / "data.json").read_text()):
        kind = CLASSES.get(subgroups.get(entry.get("subgroup"), ""))
        if kind is not None:
            code = plain(entry["hexcode"])
            found[code] = Concept(code, entry["label"], tuple(entry.get("tags", ())), kind)
    return found


def names_of(known: dict[str, Concept], sets: dict[str, Path]) -> dict[str, str]:
    """{name in an icon set: code points}. Some sets say the code points of their icons, which names the others'."""
    found = {slug(one.name): code for code, one in known.items()}
    for package in sets.values():
        for code, name in json.loads((package / "chars.json").read_text()).items():
            if plain(code) in known:
                found.setdefault(name, plain(code))
    return found | {name.replace("-", ""): code for name, code in found.items()}


def drawings(package: Path, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    """(code points, SVG text) of each concept that a designer has drawn, once."""
    document = json.loads((package / "icons.json").read_text())
    seen = set()
    for name in [*document["icons"], *document.get("aliases", {})]:
        code = names.get(name) or names.get(name.replace("-", ""))
        entry = document["icons"].get(name) or document["icons"].get(document["aliases"][name]["parent"])
        if code is not None and code not in seen and entry is not None:
            seen.add(code)
            yield code, iconify_svg(document, entry, SIDE)


def split_of(designer: str, code: str) -> str:
    """The split of a picture; a picture stays in its split whatever else is added."""
    if designer in SHIFT:
        return "shift"
    place = share(f"{designer}/{code}")
    return "test" if place < 0.12 else "val" if place < 0.2 else "train"


def licence(package: Path) -> str:
    """One line for NOTICE.txt.

    Raises:
        ValueError: the licence is not among `LICENCES`.
    """
    about = json.loads((package / "info.json").read_text())
    found = about["license"]["spdx"]
    if found not in LICENCES:
        raise ValueError(f"{package.name}: licence {found} is not among {sorted(LICENCES)}")
    return f"{about['name']}, {about['author']['name']}, {found}, {about['author']['url']}"


def main() -> None:
    """Build the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--packages", type=Path, default=Path("build/npm"), metavar="DIR", help="where packages are kept"
    )
    args = parser.parse_args()
    known = concepts(npm.fetch(NAMES, args.packages))
    sets = {designer: npm.fetch(package, args.packages) for designer, package in DESIGNERS.items()}
    names = names_of(known, sets)
    found = [(designer, code, svg) for designer, package in sets.items() for code, svg in drawings(package, names)]
    counts = Counter(known[code].kind for designer, code, _ in found if designer not in SHIFT)
    kinds = sorted(kind for kind, number in counts.items() if number >= LEAST)
    rows = []
    for designer, code, svg in tqdm(found, desc="drawing", unit="emoji", disable=None):
        concept = known[code]
        picture = draw(svg) if concept.kind in kinds else None
        if picture is None:
            continue
        path = Path("images") / designer / f"{code}.png"
        (args.out / path).parent.mkdir(parents=True, exist_ok=True)
        picture.save(args.out / path, "PNG", optimize=True)
        split = split_of(designer, code)
        rows += [(path.as_posix(), text, concept.kind, code, designer, split) for text in concept.captions()]
    with open(args.out / "captions.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("filepath", "caption", "label", "concept", "designer", "split"), *rows])
    (args.out / "classes.txt").write_text("".join(f"{kind}\n" for kind in kinds), encoding="utf-8")
    notice = [f"{designer}: {licence(package)}; {DESIGNERS[designer]}" for designer, package in sets.items()]
    notice.append(f"names, tags and subgroups: emojibase, MIT, from Unicode's CLDR and emoji data; {NAMES}")
    (args.out / "NOTICE.txt").write_text("".join(f"{line}\n" for line in notice), encoding="utf-8")
    pictures = {row[0]: row[5] for row in rows}
    print(f"{len(pictures)} emoji of {len(kinds)} classes: {dict(Counter(pictures.values()))} -> {args.out}")


if __name__ == "__main__":
    main()
