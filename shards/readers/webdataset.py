"""Tars of samples: img2dataset, any webdataset, and the shards that `sclip convert` writes.

Images are read where they are in the tar; nothing is unpacked. Names that lead out of the archive, links and devices
are skipped and counted.
"""

import glob
import json
import os
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from sclip_plugin.data import tar
from sclip_plugin.errors import DataError
from sclip_plugin.shards.locator import SliceImage
from sclip_plugin.shards.readers.base import Options, as_captions, split_name
from sclip_plugin.shards.readers.files import SUFFIXES, file_hash, first_existing
from sclip_plugin.shards.sample import Sample, Tally

LEADS_OUT, LINK = "name leads out of the archive", "link or device in the archive"


class WebDatasetReader:
    """`source`: a tar, or a folder of them. Captions: `captions` of the JSON member, else `.txt`, else its `caption`.

    A sample's name is its key; keys that occur in several tars are kept apart by the tar's name.
    """

    takes = frozenset()

    def __init__(self, source: str, options: Options):
        self.source = os.path.realpath(source)
        self.files = _files(self.source)
        if not self.files:
            raise DataError(f"--from webdataset: no .tar in {source}")
        self.classes = _class_names(os.path.dirname(os.path.abspath(self.files[0])))
        self.tally = Tally()

    @classmethod
    def recognises(cls, source: str) -> bool:
        return bool(_files(source))

    def samples(self) -> Iterator[Sample]:
        several = len(self.files) > 1 and not unique_keys(self.files)
        for path in self.files:
            prefix = os.path.basename(path).removesuffix(".tar") + "/" if several else ""
            for key, members in grouped(path, self.tally):
                yield from self._sample(path, prefix, key, members)

    def _sample(self, path: str, prefix: str, key: str, members: dict) -> Iterator[Sample]:
        about, text = members.get("json"), members.get("txt")
        captions = caption_list(about, text)
        image = next((suffix for suffix in members if suffix in SUFFIXES), None)
        if image is None:
            self.tally.skip_image("no image in its sample", len(captions))
            return
        known = {
            name: str(value) for name, value in (about or {}).items() if isinstance(value, str | int) and value != ""
        }
        yield Sample(
            f"{prefix}{key}.{image}",
            members[image],
            captions,
            label=known.get("label") or self._class(members.get("cls")),
            group=known.get("group"),
            split=split_name(known.get("split")),
            where=f"{path}: {key}",
        )

    def _class(self, number: str | None) -> str | None:
        if number is None:
            return None
        text = number.strip()
        return self.classes[int(text)] if text.isdecimal() and int(text) < len(self.classes) else text or None

    def describe(self) -> dict:
        hashes = {os.path.basename(path): file_hash(path) for path in self.files}
        return {"format": "webdataset", "name": os.path.basename(self.source), "sha256": hashes}


def caption_list(about: dict | None, text: str | None) -> list[str]:
    """The captions of a sample, from its JSON and its text."""
    about = about or {}
    if listed := as_captions(about.get("captions")):
        return listed
    return as_captions(about.get("caption")) if text is None else [text]


def grouped(path: str, tally: Tally | None = None) -> Iterator[tuple[str, dict]]:
    """(key, {suffix: image as SliceImage, JSON parsed, text decoded}) of the samples of a tar.

    Raises:
        DataError: no tar, a compressed one, or one that ends early; names it.
    """
    try:
        with tar.open_tar(path, compressed=False) as archive:
            content = partial(_content, path, archive)
            for _, key, members in tar.samples(archive, content, name_of=partial(_name, tally)):
                yield key, members
    except tar.UNREADABLE as error:
        hint = "; unpack compressed tars first" if isinstance(error, tarfile.ReadError) else ""
        raise DataError(f"{path}: {' '.join(str(error).split())}{hint}") from None


def _name(tally: Tally | None, member: tarfile.TarInfo) -> str:
    """The member's name, "" for one that must not be used; those are counted."""
    if member.isdir():
        return ""
    name = member.name.removeprefix("./")
    if member.isfile() and not member.issparse() and not name.startswith("/") and ".." not in name.split("/"):
        return name
    if tally is not None:
        tally.notes[f"member skipped: {LEADS_OUT if member.isfile() else LINK}"] += 1
    return ""


def _content(path: str, archive: tarfile.TarFile, member: tarfile.TarInfo, suffix: str):
    if suffix in SUFFIXES:
        return SliceImage(path, member.offset_data, member.size)
    if suffix not in ("json", "txt", "cls"):
        return None
    text = tar.read(archive, member).decode("utf-8", "replace")
    if suffix != "json":
        return text
    try:
        about = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return about if isinstance(about, dict) else None


def _class_names(folder: str) -> list[str]:
    """`classnames.txt` beside the tars, or above as in CLIP_benchmark's layout; [] without one."""
    path = first_existing(folder, ("classnames.txt", "../classnames.txt"))
    return Path(path).read_text(encoding="utf-8-sig").splitlines() if path else []


def unique_keys(files: list[str]) -> bool:
    """Whether no two tars begin with the same key: numbered keys restart in each tar of many data sets."""
    firsts = [next((key for key, _ in grouped(path)), None) for path in files]
    return len(set(firsts)) == len(firsts)


def _files(source: str) -> list[str]:
    if os.path.isfile(source):
        return [source] if source.lower().endswith(".tar") else []
    return sorted(glob.glob(os.path.join(glob.escape(source), "*.tar")))
