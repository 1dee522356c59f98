"""Tars of samples: img2dataset, any webdataset, and the shards that `sclip convert` writes.

Images are read where they are in the tar; nothing is unpacked. Names that lead out of the archive, links and devices
are skipped and counted.
"""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from sclip_plugin.data import tar
from sclip_plugin.errors import DataError
from sclip_plugin.shards.locator import SliceImage
from sclip_plugin.shards.readers.base import Description
from sclip_plugin.shards.readers.fields import Fields, captions_of
from sclip_plugin.shards.readers.files import SUFFIXES
from sclip_plugin.shards.readers.jsonfile import parse_object
from sclip_plugin.shards.readers.parts import Parted
from sclip_plugin.shards.sample import Sample, Tally
from sclip_plugin.storage import places
from sclip_plugin.storage.location import location

LEADS_OUT, LINK = "name leads out of the archive", "link or device in the archive"
NO_OBJECT = "member .json that is not a JSON object: not read"
NOT_UTF8 = "member that is not UTF-8: bytes replaced"
TWICE = "member that comes twice in its sample: the last one is used"
FURTHER = "further image in its sample"
LONGEST_NUMBER = 9  # digits of the number of a class (ours)


@dataclass(frozen=True)
class TarSample:
    """One sample of a tar.

    Attributes:
        key: what its members' names have in common.
        images: {suffix: where the image is}, in the order of the tar.
        about: the object of its `.json`; {} without one.
        text: its `.txt`; None without one.
        class_text: its `.cls`; None without one.
    """

    key: str
    images: dict[str, SliceImage]
    about: dict[str, Any]
    text: str | None
    class_text: str | None

    def image(self, tally: Tally) -> tuple[str, SliceImage] | None:
        """(suffix, image), None without any; further ones are counted as left out."""
        for _ in range(len(self.images) - 1):
            tally.skip_image(FURTHER)
        return next(iter(self.images.items()), None)

    def usable(self, tally: Tally, fault: str = "") -> tuple[Fields, str, SliceImage] | None:
        """(what it says, suffix, image), counted as read; None where it cannot be used, counted under the reason.

        Args:
            tally: of the reader.
            fault: what the reader has against it.
        """
        fields, image = self.fields(), self.image(tally)
        if image is None or fault or fields.fault:
            fields.skip_image("no image in its sample" if image is None else fault or fields.fault, tally)
            return None
        fields.count(tally)
        return fields, *image

    def fields(self) -> Fields:
        """What the sample says: its captions are `captions` of the JSON, else the text, else `caption` of the JSON."""
        about = {role: self.about.get(role) for role in ("label", "group", "split")}
        listed, lost = captions_of(self.about.get("captions"))
        if not listed:
            listed, more = captions_of(self.about.get("caption")) if self.text is None else ([self.text], 0)
            lost += more
        return replace(Fields.of(about), captions=listed, lost=lost)


@dataclass(frozen=True)
class _Tar:
    """One of the tars.

    Attributes:
        path: of the tar.
        prefix: stands before the keys in it.
        classes: the names of the classes that numbers in `.cls` mean.
    """

    path: str
    prefix: str
    classes: list[str]

    def samples(self, tally: Tally) -> Iterator[Sample]:
        """The samples, in order."""
        for found in tar_samples(self.path, tally):
            usable = found.usable(tally)
            if usable is None:
                continue
            fields, suffix, image = usable
            yield Sample(
                f"{self.prefix}{found.key}.{suffix}",
                image,
                fields.captions,
                label=fields.label or self._class(found.class_text),
                group=fields.group,
                split=fields.split,
                where=f"{self.path}: {found.key}",
            )

    def _class(self, text: str | None) -> str | None:
        """The class that a `.cls` names, by its number in `classnames.txt` or in words."""
        text = (text or "").strip()
        number = int(text) if text.isdecimal() and len(text) <= LONGEST_NUMBER else len(self.classes)
        return self.classes[number] if number < len(self.classes) else text or None


class WebDatasetReader(Parted):
    """Reads a tar, or a folder of them.

    A sample's name is its key; keys that occur in several tars are kept apart by the tar's name.
    """

    takes: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, source: str) -> None:
        self.source = places.real(source)
        self.files = _files(self.source)
        if not self.files:
            raise DataError(f"--from webdataset: no .tar in {source}")
        self.classes = _class_names(places.folder_of(self.files[0]))
        self.tally = Tally()

    @classmethod
    def recognises(cls, source: str) -> bool:
        """True for a tar, and for a folder of them."""
        return bool(_files(source))

    def samples(self) -> Iterator[Sample]:
        """The samples of each tar, in order."""
        several = len(self.files) > 1 and not self._unique_keys()
        yield from self.read(
            [_Tar(path, _prefix(path) if several else "", self.classes) for path in self.files], self.tally
        )

    def _unique_keys(self) -> bool:
        """False where two tars begin with the same key: in many data sets keys are numbers that start again."""
        firsts = list(self.engine.map(_first_key, self.files))
        return len(set(firsts)) == len(firsts)

    def describe(self) -> Description:
        """The name of the file or folder, and the hash of each tar."""
        hashes = dict(zip(map(os.path.basename, self.files), self.hashes(self.files)))
        return {"format": "webdataset", "name": os.path.basename(self.source), "sha256": hashes}


def tar_samples(path: str, tally: Tally | None = None) -> Iterator[TarSample]:
    """The samples of a tar that is not compressed.

    Args:
        path: the tar.
        tally: members that are skipped are counted in its notes.

    Raises:
        DataError: it is no tar, is compressed, or ends early; names it.
    """
    try:
        with tar.open_tar(path, compressed=False) as archive:
            content = _Contents(path, archive, tally)
            for _, key, members in tar.samples(archive, content, name_of=partial(_name, tally)):
                content.seen.clear()
                yield _tar_sample(key, members, tally)
    except tar.UNREADABLE as error:
        hint = "; unpack compressed tars first" if _is_compressed(path) else ""
        raise DataError(f"{path}: {' '.join(str(error).split())}{hint}") from None


def _is_compressed(path: str) -> bool:
    try:
        with places.opened(path) as file:
            return file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))
    except OSError:
        return False


def _tar_sample(key: str, members: dict[str, SliceImage | str | None], tally: Tally | None) -> TarSample:
    images = {suffix: member for suffix, member in members.items() if isinstance(member, SliceImage)}
    texts = {suffix: member for suffix, member in members.items() if isinstance(member, str)}
    about: dict[str, Any] = {}
    if "json" in texts:
        try:
            about = parse_object(texts["json"].encode(), key)
        except DataError:
            if tally is not None:
                tally.notes[NO_OBJECT] += 1
    return TarSample(key, images, about, texts.get("txt"), texts.get("cls"))


def _name(tally: Tally | None, member: tarfile.TarInfo) -> str | None:
    """The name under which a member counts; None for one that must not be used, which is counted."""
    if member.isdir():
        return None
    name = member.name.removeprefix("./")
    if tar.plain_name(member) is not None and not name.startswith("/") and ".." not in name.split("/"):
        return name
    if tally is not None:
        tally.notes[f"member skipped: {LEADS_OUT if member.isfile() else LINK}"] += 1
    return None


class _Contents:
    """What is taken of each member of a tar; members that come twice in their sample are counted.

    Attributes:
        seen: the suffixes of the sample that is being read.
    """

    def __init__(self, path: str, archive: tarfile.TarFile, tally: Tally | None) -> None:
        self.path, self.archive, self.tally = path, archive, tally
        self.seen: set[str] = set()

    def __call__(self, member: tarfile.TarInfo, suffix: str) -> SliceImage | str | None:
        """Where an image is, or the text of a member; None for what is not used."""
        if suffix in self.seen and self.tally is not None:
            if suffix in SUFFIXES:
                self.tally.skip_image(FURTHER)
            else:
                self.tally.notes[TWICE] += 1
        self.seen.add(suffix)
        if suffix in SUFFIXES:
            return SliceImage(self.path, member.offset_data, member.size)
        if suffix in ("json", "txt", "cls"):
            return _text(tar.read(self.archive, member), self.tally)
        return None


def _text(data: bytes, tally: Tally | None) -> str:
    """Bytes as text; what is not UTF-8 is replaced, and noted."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        if tally is not None:
            tally.notes[NOT_UTF8] += 1
        return data.decode("utf-8", "replace")


def _class_names(folder: str) -> list[str]:
    """`classnames.txt` beside the tars, or above them as in CLIP_benchmark's layout; [] without one.

    Raises:
        DataError: it is not UTF-8 text.
    """
    beside = (os.path.join(place, "classnames.txt") for place in (folder, os.path.dirname(folder)))
    path = next((path for path in beside if places.is_file(path)), None)
    try:
        return location(path).read_text(encoding="utf-8-sig").splitlines() if path else []
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from None


def _first_key(path: str) -> str | None:
    return next((found.key for found in tar_samples(path)), None)


def _prefix(path: str) -> str:
    return os.path.basename(path).removesuffix(".tar") + "/"


def _files(source: str) -> list[str]:
    if places.is_file(source):
        return [source] if source.lower().endswith(".tar") else []
    return places.listed(source, "*.tar")
