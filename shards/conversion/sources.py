"""From the sources that the user names to an index: readers chosen, names kept apart, labels as people say them."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from sclip_plugin.errors import UsageError
from sclip_plugin.shards.conversion.index import SampleIndex
from sclip_plugin.shards.readers import make_reader
from sclip_plugin.shards.readers.base import Options, Reader
from sclip_plugin.shards.readers.columns import ROLES
from sclip_plugin.shards.readers.folder import FolderReader
from sclip_plugin.shards.recipes.recipe import Recipe
from sclip_plugin.shards.sample import Sample, Tally

UNKNOWN_CLASS = "label is not among the recipe's classes"


@dataclass
class Source:
    """One reader, what to put before its names, and what it is named in messages."""

    reader: Reader
    name: str
    recipe: Recipe | None = None
    labels: dict[str, str] | None = None
    prefix: str = ""

    def samples(self) -> Iterator[Sample]:
        """The reader's samples under their names in the whole, labelled as the recipe says."""
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


def open_sources(args, recipes: list[Recipe], captions: bool, spool: Path) -> list[Source]:
    """The sources of a conversion's arguments, in order.

    Raises:
        UsageError, DataError: what cannot be read, or options that have no meaning for it.
    """
    if recipes and len(recipes) != len(args.source):
        listed = ", ".join(recipe.name for recipe in recipes)
        raise UsageError(
            f"--recipe: {len(recipes)} recipes ({listed}) for {len(args.source)} SOURCEs; give one for each"
        )
    if args.images and len(args.source) > 1:
        raise UsageError("--images goes with one SOURCE; several look for theirs beside their files")
    columns = {role: name for role in ROLES if (name := getattr(args, f"{role}_column"))}
    found = []
    for number, root in enumerate(args.source):
        recipe = recipes[number] if recipes else None
        if recipe and os.path.isdir(root):
            options = recipe.options(root, args.images, columns, captions, spool / str(number))
            reader = make_reader(recipe.find(root), options, args.form or recipe.format)
            found.append(Source(reader, recipe.name, recipe, recipe.image_labels(root)))
        else:
            options = Options(args.images, columns, captions, spool / str(number))
            form = args.form or (recipe.format if recipe else None)
            found.append(Source(make_reader(root, options, form), _base(root), recipe))
    _keep_apart(found, always=len(found) > 1)
    extra = [
        Source(FolderReader(path, flag="--unpaired-images", classes=False), _base(path))
        for path in args.unpaired_images
    ]
    _keep_apart(extra, always=True)
    return found + extra


def _base(path: str) -> str:
    return os.path.basename(os.path.realpath(path))


def _keep_apart(sources: list[Source], always: bool) -> None:
    names: Counter = Counter()
    for source in sources if always else ():
        names[source.name] += 1
        number = names[source.name]
        source.prefix = f"{source.name}/" if number == 1 else f"{source.name}-{number}/"


def read(sources: list[Source], index: SampleIndex) -> Tally:
    """Fill the index. Returns what was read and what was left out, of all sources together."""
    total = Tally()
    for origin, source in enumerate(sources):
        for sample in tqdm(source.samples(), desc=f"reading {source.name}", unit="row", disable=None):
            index.add(sample, total, origin)
        one = source.reader.tally
        total.images += one.images
        total.captions += one.captions
        total.skipped_images += one.skipped_images
        total.skipped_captions += one.skipped_captions
        total.notes += one.notes
    return total
