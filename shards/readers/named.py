"""Records that name an image in a folder: one way for tables, JSON Lines and Hugging Face's metadata files."""

from collections import Counter
from collections.abc import Iterator

from sclip_plugin.shards.locator import FileImage
from sclip_plugin.shards.readers.base import as_captions, split_name
from sclip_plugin.shards.readers.files import ImageFolder
from sclip_plugin.shards.sample import Sample, Tally

NO_NAME = "no image named"


class NamedImages:
    """Turns records into samples; names that are missing or lead out of the folder are counted.

    Args:
        folder: where the images are.
        tally: of the reader.
        beside: another folder that names may be relative to, as long as the image is in `folder`.
    """

    def __init__(self, folder: ImageFolder, tally: Tally, beside: str | None = None):
        self.folder, self.tally, self.beside = folder, tally, beside

    def sample(self, fields: dict, where: str) -> Iterator[Sample]:
        """The sample of one record, or nothing. fields: {role: value}, as `columns.ROLES`; label and split may be
        absent."""
        captions = as_captions(fields.get("caption"))
        source, reason = self.locate(str(fields.get("image") or ""))
        if source is None:
            self.tally.skip_captions(reason, len(captions))
            self.tally.notes[f"row without image: {reason}"] += 1
            return
        label, group = fields.get("label"), fields.get("group")
        yield Sample(
            source,
            FileImage(self.folder.path(source)),
            captions,
            label=None if label in (None, "") else str(label),
            group=None if group in (None, "") else str(group),
            split=split_name(fields.get("split")),
            where=where,
        )

    def locate(self, name: str) -> tuple[str | None, str]:
        """(source name, "") or (None, reason)."""
        if not name:
            return None, NO_NAME
        source, reason = self.folder.locate(name)
        if source is None and self.beside:
            beside, _ = self.folder.locate(name, self.beside)
            return (beside, "") if beside else (None, reason)
        return source, reason

    def others(self) -> Iterator[Sample]:
        """Every image of the folder; the index leaves those that have come already as they are."""
        skipped: Counter = Counter()
        for relative in self.folder.walk(skipped):
            yield Sample(relative, FileImage(self.folder.path(relative)), bare=True)
        self.tally.images += skipped.total()
        self.tally.skipped_images += skipped
