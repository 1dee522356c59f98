"""Records that name an image in a folder: tables, JSON Lines, Hugging Face's metadata files and more share this."""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from sclip_plugin.errors import DataError
from sclip_plugin.shards.locator import FileImage
from sclip_plugin.shards.readers.base import Misfit, Options, Record
from sclip_plugin.shards.readers.columns import find_columns
from sclip_plugin.shards.readers.fields import Fields
from sclip_plugin.shards.readers.files import ImageFolder, Unread
from sclip_plugin.shards.sample import Sample, Tally

NO_NAME: Final = "no image named"
MISFIT: Final = "row that does not fit the header"
SHOWN: Final = 3  # places of misfits that are named


class NamedImages:
    """Turns records into samples; names that are missing or lead out of the folder are counted.

    Args:
        folder: where the images are.
        tally: of the reader.
        beside: another folder that names may be relative to, as long as the image is in `folder`.
    """

    def __init__(self, folder: ImageFolder, tally: Tally, beside: str | None = None) -> None:
        self.folder, self.tally, self.beside = folder, tally, beside

    def sample(self, record: Record, where: str) -> Iterator[Sample]:
        """The sample of one record; nothing where its image is missing.

        Args:
            record: {role: value}, with the roles of `columns.ROLES`; all may be absent.
            where: the record's place in the source, for messages.

        Raises:
            DataError: nobody can tell which group the image is in.
        """
        yield from self.sample_of(Fields.of(record), where)

    def sample_of(self, fields: Fields, where: str) -> Iterator[Sample]:
        """The sample of a record whose fields are typed; as `sample`."""
        if fields.fault:
            raise DataError(f"{where}: {fields.fault}")
        source, reason = self.locate(fields.image)
        if source is None:
            fields.skip_captions(reason, self.tally)
            self.tally.notes[f"row without image: {reason}"] += 1
            return
        fields.count(self.tally)
        yield Sample(
            source,
            FileImage(self.folder.path(source)),
            fields.captions,
            label=fields.label,
            group=fields.group,
            split=fields.split,
            where=where,
        )

    def locate(self, name: str) -> tuple[str | None, str]:
        """(path relative to the folder, "") of the image `name`, or (None, reason)."""
        if not name:
            return None, NO_NAME
        source, reason = self.folder.locate(name)
        if source is None and self.beside:
            beside, _ = self.folder.locate(name, self.beside)
            return (beside, "") if beside else (None, reason)
        return source, reason

    def others(self, read: Collection[str] = ()) -> Iterator[Sample]:
        """Every image of the folder, without caption.

        The index keeps what was said before about those that have come already. Files in the folder that look like
        captions are noted.

        Args:
            read: files and folders of captions that the reader has read.
        """
        skipped: Counter[str] = Counter()
        unread = Unread(read)
        for relative in self.folder.walk(skipped, unread):
            yield Sample(relative, FileImage(self.folder.path(relative)), bare=True)
        self.tally.images += skipped.total()
        self.tally.skipped_images += skipped
        self.tally.notes += unread.notes()


class NamedRecords:
    """Turns the records of one file into samples. The first record decides which fields there are.

    Args:
        images: finds the images.
        path: the file, for messages.
        options: of the reader.
    """

    def __init__(self, images: NamedImages, path: str, options: Options) -> None:
        self.images, self.path, self.options = images, path, options
        self.tally = images.tally
        self.misfits = 0

    def samples(self, records: Iterable[tuple[str, Record]]) -> Iterator[Sample]:
        """One sample for each record whose image is there.

        Args:
            records: (place, record) of each record of the file.

        Raises:
            UsageError: a field that is needed is missing.
            DataError: there is no record.
        """
        columns: Mapping[str, str] | None = None
        for where, record in records:
            if columns is None:
                needed = ("image", "caption") if self.options.captions else ("image",)
                columns = find_columns(record, self.options.columns, self.path, needed)
            if isinstance(record, Misfit):
                self._skip(record, where)
                continue
            for name in columns.values():
                if name not in record:
                    self.tally.notes[f"record without the field {name!r}, which the first one has"] += 1
            yield from self.images.sample({role: record.get(name) for role, name in columns.items()}, where)
        if columns is None:
            raise DataError(f"{self.path}: there is no record in it; give the folder of the images as SOURCE instead")

    def _skip(self, record: Misfit, where: str) -> None:
        """Count a row whose cells do not fit the header, and name the first ones.

        Raises:
            DataError: splits or groups count, and nobody can tell those of this row's image.
        """
        for role in ("split", "group"):
            if role in self.options.columns:
                raise DataError(f"{where}: {record.reason}: its {role} cannot be told; repair the line")
        self.tally.skip_captions(MISFIT)
        self.misfits += 1
        if self.misfits <= SHOWN:
            place = os.path.basename(self.path) + where.removeprefix(self.path)  # the manifest holds no absolute path
            self.tally.notes[f"left out: {place}: {record.reason}"] += 1
