"""The checks of one shard: what can be said of it without looking at the others."""

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sclip_plugin.data import tar
from sclip_plugin.data.samples import IMAGE_SUFFIXES, Members, Skip, captions
from sclip_plugin.shards import layout
from sclip_plugin.shards.contact_sheet import Thumbnail
from sclip_plugin.shards.images import Transform, inspect
from sclip_plugin.shards.readers.base import clean_caption
from sclip_plugin.shards.readers.fields import is_unicode
from sclip_plugin.shards.readers.files import file_hash
from sclip_plugin.shards.verification.faults import Fault
from sclip_plugin.shards.verification.parts import Part
from sclip_plugin.storage.copies import on_disk
from sclip_plugin.storage.location import Location

KNOWN = frozenset((*IMAGE_SUFFIXES, "txt", "json", "cls"))  # suffixes of members that training or evaluation reads


@dataclass
class ShardFindings:
    """What is in a shard, and what is wrong with it.

    Attributes:
        samples: runs of members with one key.
        captions: captions of the samples whose image is right.
        bytes: length of the file.
        sha256: of the whole file, in hexadecimal.
        keys: of the samples, in order.
        faults: in the order in which they were found.
        notes: {what the user should see that is no fault: how often}.
        thumbnails: the first samples, for a contact sheet.
    """

    samples: int = 0
    captions: int = 0
    bytes: int = 0
    sha256: str = ""
    keys: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    thumbnails: list[Thumbnail] = field(default_factory=list)


def check_shard(part: Part, path: Location, thumbnails: int = 0) -> ShardFindings:
    """Read a shard to its end and decode every image.

    Args:
        part: what the shard belongs to; its kind decides what a sample must hold.
        path: the tar; one in a store is copied to the local disk, so that it is sent once.
        thumbnails: how many samples to keep for a contact sheet.
    """
    with on_disk(path) as file:
        found = ShardFindings(bytes=file.stat().st_size, sha256=file_hash(file))
        _check_samples(part, path, file, found, thumbnails)
    return found


def _check_samples(part: Part, path: Location, file: Path, found: ShardFindings, thumbnails: int) -> None:
    """Look at the samples of a shard, which stands in `file`."""
    try:
        for key, members in _samples(path, file, found):
            found.samples += 1
            found.keys.append(key)
            if fault := _check_sample(part, members, found, thumbnails):
                found.faults.append(Fault(fault, f"{path}: {key}"))
    except tar.UNREADABLE as error:
        found.faults.append(Fault("tar cannot be read to its end", f"{path}: {error}"))


def _samples(path: Location, file: Path, found: ShardFindings) -> Iterator[tuple[str, Members]]:
    """(key, members) of each sample; the faults of names are added to what was found."""
    seen: set[str] = set()  # suffixes in the sample that is being read

    def name_of(member: tarfile.TarInfo) -> str | None:
        name = tar.plain_name(member)
        key, suffix = tar.split_key(name) if name else (None, "")
        if name is None or key is None:
            found.faults.append(Fault("member that belongs to no sample", f"{path}: {member.name}"))
            return None
        if "." in suffix or name.startswith("/") or ".." in name.split("/"):
            found.faults.append(Fault("key with a dot, or a name that leads out", f"{path}: {name}"))
        return name

    def content(member: tarfile.TarInfo, suffix: str) -> bytes:
        if suffix in seen:
            found.faults.append(Fault("member occurs twice in its sample", f"{path}: {member.name}"))
        seen.add(suffix)
        return tar.read(archive, member)

    with tar.open_tar(str(file), compressed=False) as archive:
        for _, key, members in tar.samples(archive, content, name_of=name_of):
            seen.clear()
            yield key, members


def _check_sample(part: Part, members: Members, found: ShardFindings, thumbnails: int) -> str:
    """The first fault of a sample, "" without one. Counts its captions."""
    for suffix in sorted(members.keys() - KNOWN):
        found.notes[f"member .{suffix}, which training does not read"] += 1
    images = [suffix for suffix in IMAGE_SUFFIXES if suffix in members]
    if len(images) != 1:
        return "several images in one sample" if images else "no image"
    image = members[images[0]]
    if fault := _image_fault(image):
        return fault
    texts, fault = _check_texts(part, members)
    if wrong := _json_fault(members):
        found.notes.update([] if part.kind else [wrong])
        fault = fault or (wrong if part.kind else "")
    found.captions += len(texts)
    if len(found.thumbnails) < thumbnails:
        found.thumbnails.append(Thumbnail(image, tuple(map(clean_caption, texts)) or ("no text",)))
    return fault


class _ImageInMemory:
    """An encoded image, as `images.inspect` takes it."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.data)


def _image_fault(data: bytes) -> str:
    verdict = inspect(_ImageInMemory(data), Transform(), check=True)
    if verdict.fault:
        return f"image: {verdict.fault}"
    return f"image that open_clip decodes wrongly: {verdict.recode}" if verdict.recode else ""


def _check_texts(part: Part, members: Members) -> tuple[list[str], str]:
    """(captions, fault) of a sample, by the kind of its part; the fault is "" without one."""
    if part.kind == layout.CLASSES:
        return [], _class_fault(part, members)
    try:
        texts = captions(members)
    except Skip as reason:
        return [], str(reason) if part.kind and part.kind != layout.UNPAIRED else ""
    if part.kind == layout.UNPAIRED:
        return [], "caption in an unpaired sample"
    lines = [line for line in _text(members, "txt").splitlines() if line.strip()]
    if part.kind == layout.VAL:
        return lines, "" if lines else "no caption in .txt"
    if part.kind == layout.PAIRED and len(lines) != 1:
        return texts, "not one caption in .txt, which stock open_clip reads"
    return texts, ""


def _class_fault(part: Part, members: Members) -> str:
    text = _text(members, "cls").strip()
    if text.isdecimal() and len(text) < 10 and int(text) < len(part.classes):
        return "" if _label(members) in (None, part.classes[int(text)]) else "label that is not the class of its .cls"
    return f"class {text!r} is not in classnames.txt" if text else "no class"


def _label(members: Members) -> str | None:
    """The label in a sample's .json; None where there is none."""
    about = _about(members)
    label = about.get("label") if isinstance(about, dict) else None
    return label if isinstance(label, str) else None


def _json_fault(members: Members) -> str:
    """What is wrong with the .json of a sample; "" where it is right or missing."""
    about = _about(members)
    if not isinstance(about, dict):
        return "member .json that is not a JSON object"
    listed = about.get("captions", [])
    if not isinstance(listed, list) or not all(isinstance(text, str) and is_unicode(text) for text in listed):
        return "captions in .json that are not a list of texts"
    return ""


def _about(members: Members) -> object:
    """What the .json of a sample holds: {} without one, None where it is not JSON."""
    if "json" not in members:
        return {}
    try:
        found: object = json.loads(_text(members, "json"))
    except (ValueError, RecursionError):
        return None
    return found


def _text(members: Members, suffix: str) -> str:
    """A member as text; "" where it is missing."""
    return members.get(suffix, b"").decode("utf-8", "replace")
