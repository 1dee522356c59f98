"""From the sources that the user names to an index: readers chosen, names kept apart, labels as people say them."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from tqdm import tqdm

from sclip_plugin.errors import UsageError
from sclip_plugin.shards.conversion.index import SampleIndex
from sclip_plugin.shards.engines.engine import Engine
from sclip_plugin.shards.engines.local import HERE
from sclip_plugin.shards.readers import make_reader
from sclip_plugin.shards.readers.base import Options
from sclip_plugin.shards.readers.folder import FolderReader
from sclip_plugin.shards.readers.parts import Parted
from sclip_plugin.shards.recipes.recipe import Recipe
from sclip_plugin.shards.sample import Sample, Tally
from sclip_plugin.storage import places
from sclip_plugin.storage.location import Location

UNKNOWN_CLASS = "label is not among the recipe's classes"


@dataclass(frozen=True)
class SourceSelection:
    """Which sources are read, and how.

    Attributes:
        paths: the files and folders with captions or labels; several become one set.
        recipes: one for each path, or none.
        images: folder of the images; None: the readers look beside their files.
        columns: {role of `readers.columns.ROLES`: name of the column}, where the user names one.
        form: the format of every path (`readers.FORMATS`); None: it is recognised.
        unpaired_images: folders with more images, which have no text.
    """

    paths: tuple[str, ...]
    recipes: tuple[Recipe, ...] = ()
    images: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    form: str | None = None
    unpaired_images: tuple[str, ...] = ()

    @property
    def places(self) -> list[str]:
        """All that is read, by path or URL."""
        return [*self.paths, *filter(None, [self.images]), *self.unpaired_images]


class OpenReader(Protocol):
    """What a conversion asks of a reader that has its source.

    Attributes:
        tally: what the reader has read and left out; complete once `samples` is exhausted.
    """

    tally: Tally

    def samples(self) -> Iterator[Sample]:
        """The samples of the source."""
        ...

    def describe(self) -> Mapping[str, object]:
        """The source as the manifest records it."""
        ...


@dataclass(frozen=True)
class Source:
    """What a conversion reads, as one of the user's paths gives it.

    Attributes:
        reader: gives the samples.
        name: what the source is called in messages and in prefixes.
        recipe: says which labels mean which classes.
        labels: {file name of an image: its label}, from the recipe's lists.
        prefix: stands before the names and groups of its samples in the whole set.
    """

    reader: OpenReader
    name: str
    recipe: Recipe | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""

    def samples(self) -> Iterator[Sample]:
        """The reader's samples under their names in the whole set, labelled as the recipe says."""
        for sample in self.reader.samples():
            if self.labels:
                sample.label = self.labels.get(sample.source.rpartition("/")[2])
            if self.recipe and sample.label:
                said = self.recipe.label(sample.label)
                self.reader.tally.notes[UNKNOWN_CLASS] += said is None
                sample.label = said
            sample.source = self.prefix + sample.source
            if self.prefix and sample.group:
                sample.group = self.prefix + sample.group
            yield sample


def open_sources(selection: SourceSelection, captions: bool, spool: Location, engine: Engine = HERE) -> list[Source]:
    """The sources that were selected, in order.

    Args:
        selection: what the user wants to be read.
        captions: whether every source must have captions.
        spool: folder for images that cannot be read where they are.
        engine: reads and hashes the files of sources that have many.

    Raises:
        UsageError: options have no meaning for a source, or do not go together.
        DataError: a source cannot be read.
    """
    paths, recipes = selection.paths, selection.recipes
    if recipes and len(recipes) != len(paths):
        listed = ", ".join(recipe.name for recipe in recipes)
        raise UsageError(f"--recipe: {len(recipes)} recipes ({listed}) for {len(paths)} SOURCEs; give one for each")
    if selection.images and len(paths) > 1:
        raise UsageError("--images goes with one SOURCE; several look for theirs beside their files")
    found = [
        _open(selection, path, recipes[number] if recipes else None, captions, spool / str(number))
        for number, path in enumerate(paths)
    ]
    for source in found:
        if isinstance(source.reader, Parted):
            source.reader.engine = engine
    extra = [
        Source(FolderReader(path, flag="--unpaired-images", classes=False), _base(path))
        for path in selection.unpaired_images
    ]
    return (_kept_apart(found) if len(found) > 1 else found) + _kept_apart(extra)


def _open(selection: SourceSelection, path: str, recipe: Recipe | None, captions: bool, spool: Location) -> Source:
    form = selection.form or (recipe.format if recipe else None)
    if recipe and os.path.isdir(path):
        options = recipe.options(path, selection.images, selection.columns, captions, spool)
        reader = make_reader(recipe.find(path), options, form)
        return Source(reader, recipe.name, recipe, recipe.image_labels(path))
    options = Options(selection.images, selection.columns, captions, spool)
    return Source(make_reader(path, options, form), _base(path), recipe)


def _base(path: str) -> str:
    return places.name(path)


def _kept_apart(sources: list[Source]) -> list[Source]:
    """The sources, each with a prefix of its own."""
    names: Counter[str] = Counter()
    found = []
    for source in sources:
        names[source.name] += 1
        number = names[source.name]
        found.append(replace(source, prefix=f"{source.name}/" if number == 1 else f"{source.name}-{number}/"))
    return found


def read(sources: list[Source], index: SampleIndex) -> Tally:
    """Fill the index; returns what was read and what was left out, of all sources together."""
    total = Tally()
    for origin, source in enumerate(sources):
        for sample in tqdm(source.samples(), desc=f"reading {source.name}", unit="row", disable=None):
            index.add(sample, total, origin)
        total.add(source.reader.tally)
    return total
