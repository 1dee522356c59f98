"""Records that name an image in a folder: tables, JSON Lines and Hugging Face's metadata files share this."""

from collections import Counter
from collections.abc import Iterator

from sclip_plugin.shards.locator import FileImage
from sclip_plugin.shards.readers.base import Record, as_captions, split_name, text_or_none
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

    def __init__(self, folder: ImageFolder, tally: Tally, beside: str | None = None) -> None:
        self.folder, self.tally, self.beside = folder, tally, beside

    def sample(self, fields: Record, where: str) -> Iterator[Sample]:
        """The sample of one record; nothing where its image is missing.

        Args:
            fields: {role: value}, with the roles of `columns.ROLES`; all may be absent.
            where: the record's place in the source, for messages.
        """
        captions = as_captions(fields.get("caption"))
        source, reason = self.locate(str(fields.get("image") or ""))
        if source is None:
            self.tally.skip_captions(reason, len(captions))
            self.tally.notes[f"row without image: {reason}"] += 1
            return
        yield Sample(
            source,
            FileImage(self.folder.path(source)),
            captions,
            label=text_or_none(fields.get("label")),
            group=text_or_none(fields.get("group")),
            split=split_name(fields.get("split")),
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

    def others(self) -> Iterator[Sample]:
        """Every image of the folder, without caption; the index keeps what was said before about those that have come
        already."""
        skipped: Counter[str] = Counter()
        for relative in self.folder.walk(skipped):
            yield Sample(relative, FileImage(self.folder.path(relative)), bare=True)
        self.tally.images += skipped.total()
        self.tally.skipped_images += skipped
