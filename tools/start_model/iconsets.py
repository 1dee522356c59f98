"""Icon sets for the demo's start model: which, under which licence, and their icons as (picture, captions).

Only `pretrain.py` uses this module. The source is one package of the npm registry, `@iconify/json`: a JSON file of SVG
bodies for each set, and `collections.json` with authors and licences.

The demo's own data are Material Design Icons, which the start model must not have seen. So sets that are, contain or
descend from them are left out by name, then every icon that shares a path with one of these, and then (in
`pretrain.py`) every icon whose picture is like one of the demo's.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from tools.raster import iconify_svg

SIDE = 64  # pixels
PACKAGE = "@iconify/json@2.2.535"
LICENCES = {"MIT", "ISC", "Apache-2.0", "CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "Unlicense"}
EXCLUDED = (
    "mdi",
    "mdi-light",
    "zmdi",
    "ic",
    "material-symbols",
    "material-symbols-light",
    "line-md",
    "eos-icons",
    "memory",
)
SETS = [
    "tabler",
    "ph",
    "ri",
    "bi",
    "fluent",
    "carbon",
    "lucide",
    "lucide-lab",
    "solar",
    "mingcute",
    "hugeicons",
    "boxicons",
    "tdesign",
    "iconoir",
    "ion",
    "heroicons",
    "f7",
    "fluent-mdl2",
    "healthicons",
    "clarity",
    "uil",
    "icon-park-outline",
    "icon-park-solid",
    "mynaui",
    "ix",
    "octicon",
    "ant-design",
    "bx",
    "bxs",
    "fa7-solid",
    "teenyicons",
    "gravity-ui",
    "iconamoon",
    "game-icons",
    "jam",
    "stash",
    "pixelarticons",
    "akar-icons",
    "system-uicons",
    "maki",
    "temaki",
    "eva",
    "mage",
    "streamline",
    "basil",
    "cil",
    "gis",
    "majesticons",
    "fluent-emoji-high-contrast",
    "emojione-monotone",
    "vaadin",
    "grommet-icons",
    "la",
    "meteor-icons",
    "lineicons",
    "proicons",
    "pepicons-pop",
    "codicon",
    "ep",
    "feather",
    "flowbite",
    "zondicons",
    "medical-icon",
    "oi",
    "humbleicons",
    "radix-icons",
]

# Words that name a drawing style, not a thing. "outline" and "off" stay: the demo's captions use them.
STYLE = {
    "linear",
    "broken",
    "bold",
    "duotone",
    "twotone",
    "thin",
    "light",
    "regular",
    "filled",
    "fill",
    "solid",
    "line",
}
STYLE |= {"sharp", "rounded", "ios", "alt", "sm", "lg", "xs", "md", "icon"}
SKIPPED_STYLES = {"duotone", "twotone", "thin", "broken"}  # near-copies of another style of the same icon
_PATH = re.compile(r'\sd="([^"]+)"')


def licences(package: Path) -> dict[str, dict[str, str]]:
    """The name, author, licence and url of each set of `SETS`, by the set's prefix.

    Args:
        package: the unpacked package.

    Raises:
        ValueError: the licence of a set is not in `LICENCES`.
    """
    collections = json.loads((package / "collections.json").read_text())
    table = {}
    for prefix in SETS:
        about = collections[prefix]
        licence = about["license"].get("spdx", about["license"]["title"])
        if licence not in LICENCES:
            raise ValueError(f"{prefix}: licence {licence} is not among {sorted(LICENCES)}")
        url = about["author"].get("url", "")
        table[prefix] = {"name": about["name"], "author": about["author"]["name"], "licence": licence, "url": url}
    return table


def caption_of(name: str) -> str:
    """The words of an icon's name without sizes and drawing styles; empty where nothing sensible remains."""
    words = [word for word in re.split(r"[-_]+", name.lower()) if word]
    while words and (words[-1] in STYLE or re.fullmatch(r"\d+(x\d+)?", words[-1])):
        words.pop()
    words = [word for word in words if not re.fullmatch(r"\d{2,}", word)]
    return " ".join(words) if any(len(word) > 1 for word in words) else ""


def icons(package: Path) -> Iterator[tuple[str, list[str]]]:
    """(SVG text, captions) of the icons of `SETS`, without those that share a path with an icon of `EXCLUDED`."""
    forbidden: set[str] = set()
    for prefix in EXCLUDED:
        forbidden |= {path for body in _bodies(package, prefix).values() for path in _PATH.findall(body)}
    for prefix in SETS:
        yield from _icons_of(package, prefix, forbidden)


def _icons_of(package: Path, prefix: str, forbidden: set[str]) -> Iterator[tuple[str, list[str]]]:
    document = json.loads((package / "json" / f"{prefix}.json").read_text())
    other_names: dict[str, list[str]] = {}
    for alias, entry in document.get("aliases", {}).items():
        if not {"rotate", "hFlip", "vFlip"} & set(entry):
            other_names.setdefault(entry["parent"], []).append(alias)
    seen = set()
    for name, icon in document["icons"].items():
        style = SKIPPED_STYLES & set(re.split(r"[-_]+", name))
        key = re.sub(r"-\d{2}(?=-|$)", "", name)  # one of the sizes of the same drawing
        if style or key in seen or name.startswith("md-") or icon.get("hidden"):
            continue
        if any(path in forbidden for path in _PATH.findall(icon["body"])):
            continue
        captions = [text for text in dict.fromkeys(map(caption_of, [name, *other_names.get(name, ())])) if text]
        if captions:
            seen.add(key)
            yield iconify_svg(document, icon, SIDE), captions


def _bodies(package: Path, prefix: str) -> dict[str, str]:
    path = package / "json" / f"{prefix}.json"
    return {name: icon["body"] for name, icon in json.loads(path.read_text())["icons"].items()}
