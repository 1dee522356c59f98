"""What a recipe says of a published data set, and where its files are below the folder that a user has."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.shards.readers.base import Options
from sclip_plugin.shards.readers.files import first_existing
from sclip_plugin.storage.location import Location
from sclip_plugin.toml import load_toml

FOLDER = Path(__file__).parent
CAPTIONS, CLASSIFICATION = "captions", "classification"


@dataclass(frozen=True)
class Recipe:
    """A published data set.

    Attributes:
        name: what `--recipe` takes.
        title: what the data set is, for people.
        homepage: where it is found.
        licence: under which it is published.
        layout: how its files stand in the user's folder, for people.
        kind: what is made of it, `CAPTIONS` or `CLASSIFICATION`.
        format: one of `readers.FORMATS`.
        source: names below the user's folder of what the reader takes; the first that exists counts.
        images: likewise, of the folder of the images.
        class_lists: likewise, of a folder with a text file for each class.
        held_out: the source's splits that become val.
        templates: prompts for zero-shot classification, with `{c}`.
        columns: {role of `columns.ROLES`: field of the source}.
        classes: {name in the source: as people say it}; empty: every name is taken as it is.
        subset: the part of the split that a classification set takes.
        parts: names of the recipes that this one joins.
    """

    name: str
    title: str
    homepage: str = ""
    licence: str = ""
    layout: str = ""
    kind: str = CAPTIONS
    format: str = ""
    source: tuple[str, ...] = (".",)
    images: tuple[str, ...] = ()
    class_lists: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    subset: str = "all"
    parts: tuple[str, ...] = ()

    def label(self, name: str) -> str | None:
        """A class name of the source as people say it; None where the recipe does not know it.

        Case, spaces and punctuation do not count.
        """
        return self._plain_classes.get(_plain(name)) if self.classes else name

    @cached_property
    def _plain_classes(self) -> dict[str, str]:
        return {_plain(name): said for name, said in self.classes.items()}

    def find(self, root: str) -> str:
        """The path that the reader takes, in the user's folder `root`.

        Raises:
            DataError: it is not there; names the layout that is expected.
        """
        found = first_existing(root, self.source)
        if found is None:
            raise DataError(f"{root}: recipe {self.name} expects {' or '.join(self.source)} there ({self.layout})")
        return found.removesuffix("/.")

    def options(
        self, root: str, images: str | None, columns: dict[str, str], captions: bool, spool: Location
    ) -> Options:
        """The options of the reader; what the user gives counts more than what the recipe says.

        Args:
            root: the user's folder.
            images: the folder of the images, if the user names it.
            columns: {role: field} that the user names.
            captions: whether the source must have captions.
            spool: where images go that cannot be read where they are.
        """
        images = images or first_existing(root, self.images)
        return Options(images, {**self.columns, **columns}, captions, spool)

    def image_labels(self, root: str) -> dict[str, str]:
        """{image file name: class}, from the folder of class lists (`<class>.txt`, a name a line); {} without it."""
        folder = first_existing(root, self.class_lists)
        if folder is None:
            return {}
        lists = sorted(Path(folder).glob("*.txt"))
        return {
            name: one.stem
            for one in lists
            for line in one.read_text("utf-8", "replace").splitlines()
            if (name := line.strip())
        }


def _plain(name: str) -> str:
    """The name in letters and digits, without case."""
    return re.sub(r"[\W_]+", "", name.casefold())


@cache
def names() -> tuple[str, ...]:
    """The names of the recipes that ship, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


@cache
def load(name: str) -> Recipe:
    """A recipe by name, with what it takes from others.

    Raises:
        UsageError: there is no such recipe; names those that there are.
    """
    if name not in names():
        raise UsageError(f"--recipe: no recipe {name!r}; there are: {', '.join(names())}")
    return Recipe(name=name, **_fields(name))


def _fields(name: str) -> dict[str, Any]:
    """The fields of a recipe's file, joined with those of the recipes that it names."""
    table = load_toml(FOLDER / f"{name}.toml")
    if other := table.pop("based_on", None):
        table = _fields(other) | table
    if other := table.pop("classes_of", None):
        table["classes"] = load(other).classes
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def chosen(wanted: Iterable[str]) -> list[Recipe]:
    """The recipes that `--recipe` names, in order; instead of one that joins others, those.

    Raises:
        UsageError: there is no such recipe.
    """
    found: list[Recipe] = []
    for name in wanted:
        recipe = load(name)
        found += [load(part) for part in recipe.parts] if recipe.parts else [recipe]
    return found


def class_names(recipes: Iterable[Recipe]) -> list[str]:
    """The classes of some recipes as people say them, each once, sorted."""
    return sorted({said for recipe in recipes for said in recipe.classes.values()})


def listing() -> str:
    """The text that `sclip convert --list` prints."""
    lines = []
    for name in names():
        recipe = load(name)
        lines.append(f"{name}: {recipe.title}")
        if recipe.parts:
            lines.append(f"    SOURCEs, in this order: {', '.join(recipe.parts)}")
            continue
        lines.append(f"    layout: {recipe.layout}")
        lines.append(f"    from: {recipe.homepage}    licence: {recipe.licence}")
        made = "classification set" if recipe.kind == CLASSIFICATION else "paired, unpaired and val"
        held = f", held out: the source's {' and '.join(recipe.held_out)}" if recipe.held_out else ""
        classes = f", {len(recipe.classes)} classes" if recipe.classes else ""
        lines.append(f'    becomes: {made}{held}{classes}; "{recipe.templates[0]}"')
    return "\n".join(lines)
