"""CSV and TSV: one row per caption, several rows per image, images in a folder beside it."""

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Iterator

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.shards.readers.base import FileImage, Sample, Tally, clean_caption
from sclip_plugin.shards.readers.files import ImageFolder

IMAGE_NAMES = ("filepath", "file_name", "filename", "image", "image_path", "path", "img")
CAPTION_NAMES = ("caption", "captions", "title", "text", "sentence", "description")
LABEL_NAMES = ("label", "class", "category")
SEPARATORS = ",\t;"


class TableReader:
    """Rows of `path` joined with the images below `images` (default: the table's own folder).

    Names are relative to the images folder or to the table's folder. Images without a row come last, without caption.

    Args:
        columns: {"image" | "caption" | "label" | "group": column name given by the user}.
        captions: whether a caption column is needed.

    Raises:
        DataError: unreadable table; two rows of one image with different groups.
        UsageError: a column that is not there or not recognised, naming those that are.
    """

    def __init__(self, path: str, images: str | None, columns: dict[str, str], captions: bool = True):
        self.path = path
        self.folder = ImageFolder(images or os.path.dirname(os.path.abspath(path)), "--images")
        self.base = os.path.dirname(os.path.realpath(path))
        self.columns = columns
        self.captions = captions
        self.tally = Tally()

    def samples(self) -> Iterator[Sample]:
        listed: dict[str, Sample] = {}
        try:
            with open(self.path, encoding="utf-8-sig", newline="") as file:
                self._read(file, listed)
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path}: not UTF-8 text ({error.reason}); save it as UTF-8") from None
        except csv.Error as error:
            raise DataError(f"{self.path}: {error}") from None
        yield from listed.values()
        yield from self._unlisted(listed)

    def _read(self, file, listed: dict[str, Sample]) -> None:
        csv.field_size_limit(1 << 24)
        header = file.readline()
        if not header.strip():
            raise DataError(f"{self.path}: no header line")
        separator = max(SEPARATORS, key=header.count)
        file.seek(0)
        rows = csv.reader(file, delimiter=separator)
        columns = self._columns([name.strip() for name in next(rows)])
        groups: dict[str, str | None] = {}
        for row in rows:
            if row:
                cells = {role: row[at].strip() if at < len(row) else "" for role, at in columns.items()}
                self._add(cells, listed, groups, rows.line_num)

    def _columns(self, header: list[str]) -> dict[str, int]:
        """{role: index}. Raises UsageError where a needed column is missing."""
        recognised = {"image": IMAGE_NAMES, "caption": CAPTION_NAMES, "label": LABEL_NAMES, "group": ()}
        lower = [name.lower() for name in header]
        found = {}
        for role, names in recognised.items():
            given = self.columns.get(role)
            names = (given.lower(),) if given else names
            found[role] = next((lower.index(name) for name in names if name in lower), -1)
            needed = given or role == "image" or (role == "caption" and self.captions)
            if found[role] < 0 and needed:
                what = f"no column {given!r}" if given else f"no column recognised as the {role}"
                raise UsageError(f"--{role}-column: {what} in {self.path}; its columns are: {', '.join(header)}")
        return {role: index for role, index in found.items() if index >= 0}

    def _add(self, cells: dict[str, str], listed: dict[str, Sample], groups: dict, line: int) -> None:
        tally, name = self.tally, cells["image"]
        tally.captions += "caption" in cells
        source, reason = self._locate(name)
        if source is None:
            tally.skipped_captions[reason] += "caption" in cells
            tally.notes[f"row without image: {reason}"] += 1
            return
        sample = listed.get(source)
        if sample is None:
            sample = listed[source] = Sample(
                source, FileImage(self.folder.path(source)), label=cells.get("label") or None
            )
            sample.group = cells.get("group") or None
            tally.images += 1
        self._same_image(sample, cells, line)
        if "caption" in cells:
            caption = clean_caption(cells["caption"])
            if not caption or caption in sample.captions:
                tally.skipped_captions["duplicate caption" if caption else "empty caption"] += 1
            else:
                sample.captions.append(caption)

    def _locate(self, name: str) -> tuple[str | None, str]:
        if not name:
            return None, "no image named"
        source, reason = self.folder.locate(name)
        if source is None and self.base != self.folder.root:
            beside, _ = self.folder.locate(name, self.base)
            return (beside, "") if beside else (None, reason)
        return source, reason

    def _same_image(self, sample: Sample, cells: dict[str, str], line: int) -> None:
        """What a further row of an image says about its label and group must agree with the first."""
        if (cells.get("group") or None) != sample.group:
            raise DataError(
                f"{self.path}: line {line}: {sample.source} is in group {cells['group']!r} here "
                f"and in {sample.group!r} above"
            )
        if (cells.get("label") or None) != sample.label and sample.label is not None:
            sample.label = None
            self.tally.notes["image with several labels: none used"] += 1

    def _unlisted(self, listed: dict[str, Sample]) -> Iterator[Sample]:
        skipped = Counter()
        for relative in self.folder.walk(skipped):
            if relative not in listed:
                self.tally.images += 1
                yield Sample(relative, FileImage(self.folder.path(relative)))
        self.tally.images += skipped.total()
        self.tally.skipped_images += skipped

    def describe(self) -> dict:
        with open(self.path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else None
            digest = digest or hashlib.sha256(file.read())
        return {"format": "table", "name": os.path.basename(self.path), "sha256": digest.hexdigest()}
