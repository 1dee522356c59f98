"""The checks of one shard: what `sclip verify` asks of each sample."""

import hashlib
import io
import sqlite3
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sclip_plugin.data import tar
from sclip_plugin.data.samples import IMAGE_SUFFIXES, Skip, captions
from sclip_plugin.shards import layout
from sclip_plugin.shards.contact_sheet import Thumbnail
from sclip_plugin.shards.images import Transform, inspect

KNOWN = frozenset((*IMAGE_SUFFIXES, "txt", "json", "cls"))


@dataclass(frozen=True)
class Part:
    """name: for people. kind: of `layout` (paired, unpaired, val, classes), "" where it is not known."""

    name: str
    kind: str
    shards: list[Path] = field(hash=False)
    classes: tuple[str, ...] = ()


@dataclass
class Shard:
    """What is in a shard, and its faults as (kind, place)."""

    samples: int = 0
    captions: int = 0
    bytes: int = 0
    sha256: str = ""
    keys: list[str] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    notes: Counter = field(default_factory=Counter)
    thumbnails: list[Thumbnail] = field(default_factory=list)


@dataclass
class Findings:
    """The sum over the shards of a part. shards: {name below the root: samples, bytes and hash, as in the manifest}."""

    samples: int = 0
    captions: int = 0
    bytes: int = 0
    notes: Counter = field(default_factory=Counter)
    shards: dict[str, dict] = field(default_factory=dict)
    thumbnails: list[Thumbnail] = field(default_factory=list)

    def add(self, name: str, shard: Shard) -> None:
        """Count a shard in, under its name below the root."""
        self.samples += shard.samples
        self.captions += shard.captions
        self.bytes += shard.bytes
        self.notes += shard.notes
        self.shards[name] = {"samples": shard.samples, "bytes": shard.bytes, "sha256": shard.sha256}
        self.thumbnails += shard.thumbnails


class Keys:
    """Every key of a data set, on disk."""

    def __init__(self):
        self.db = sqlite3.connect("")
        self.db.execute("CREATE TABLE keys (key TEXT PRIMARY KEY, place TEXT) WITHOUT ROWID")

    def twice(self, keys: list[str], shard: Path) -> Iterator[tuple[str, str]]:
        """Remember keys; a fault for each that came before, also without case."""
        for key in keys:
            row = (key.casefold(), f"{shard.parent.name}/{shard.name}")
            if not self.db.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", row).rowcount:
                (before,) = self.db.execute("SELECT place FROM keys WHERE key = ?", row[:1]).fetchone()
                yield "key occurs twice", f"{shard}: {key}, before in {before}"

    def close(self) -> None:
        """Forget them."""
        self.db.close()


def check_shard(part: Part, path: Path, thumbnails: int = 0) -> Shard:
    """Everything that can be said of a shard alone; the first `thumbnails` images for a contact sheet."""
    found = Shard(bytes=path.stat().st_size)
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    found.sha256 = digest.hexdigest()
    try:
        for key, members in _samples(path, found):
            found.samples += 1
            found.keys.append(key)
            fault = _check(part, members, found, thumbnails)
            if fault:
                found.faults.append((fault, f"{path}: {key}"))
    except tar.UNREADABLE as error:
        found.faults.append(("tar cannot be read to its end", f"{path}: {error}"))
    return found


def _samples(path: Path, found: Shard) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, members) of each sample; faults of names are noted."""
    seen: set[str] = set()  # names in the sample that is being read

    def name_of(member: tarfile.TarInfo) -> str | None:
        name = tar.plain_name(member)
        key, suffix = tar.split_key(name) if name else (None, "")
        if name is None or key is None:
            found.faults.append(("member that belongs to no sample", f"{path}: {member.name}"))
            return None
        if "." in suffix or name.startswith("/") or ".." in name.split("/"):
            found.faults.append(("key with a dot, or a name that leads out", f"{path}: {name}"))
        return name

    def content(member: tarfile.TarInfo, suffix: str) -> bytes:
        plain = f"{tar.split_key(member.name)[0]}.{suffix}"
        if plain in seen:
            found.faults.append(("member occurs twice in its sample", f"{path}: {member.name}"))
        seen.add(plain)
        return tar.read(archive, member)

    with tar.open_tar(str(path), compressed=False) as archive:
        for _, key, members in tar.samples(archive, content, name_of=name_of):
            seen.clear()
            yield key, members


def _check(part: Part, members: dict[str, bytes], found: Shard, thumbnails: int) -> str:
    """The first fault of a sample, "" without one. Counts its captions."""
    for suffix in sorted(members.keys() - KNOWN):
        found.notes[f"member .{suffix}, which training does not read"] += 1
    images = [suffix for suffix in IMAGE_SUFFIXES if suffix in members]
    if len(images) != 1:
        return "several images in one sample" if images else "no image"
    fault = _check_image(members[images[0]])
    if fault:
        return fault
    texts, fault = _texts(part, members)
    found.captions += len(texts)
    if len(found.thumbnails) < thumbnails:
        found.thumbnails.append(Thumbnail(members[images[0]], tuple(texts) or ("no text",)))
    return fault


class _Bytes:
    """An encoded image in memory, as `images.inspect` takes it."""

    def __init__(self, data: bytes):
        self.data, self.size = data, len(data)

    def open(self):
        return io.BytesIO(self.data)


def _check_image(data: bytes) -> str:
    verdict = inspect(_Bytes(data), Transform(), check=True)
    if verdict.fault:
        return f"image: {verdict.fault}"
    return f"image that open_clip decodes wrongly: {verdict.recode}" if verdict.recode else ""


def _texts(part: Part, members: dict[str, bytes]) -> tuple[list[str], str]:
    """(captions, fault) of a sample, by the kind of its part."""
    if part.kind == layout.CLASSES:
        text = members.get("cls", b"").decode("utf-8", "replace").strip()
        known = text.isdecimal() and int(text) < len(part.classes)
        return ([], "") if known else ([], f"class {text!r} is not in classnames.txt" if text else "no class")
    try:
        texts = captions(members)
    except Skip as reason:
        texts, missing = [], str(reason)
    if part.kind == layout.UNPAIRED:
        return ([], "caption in an unpaired sample") if texts else ([], "")
    if not texts:
        return [], missing if part.kind else ""
    lines = [line for line in members.get("txt", b"").decode("utf-8", "replace").splitlines() if line.strip()]
    if part.kind == layout.VAL:
        return lines, "" if lines else "no caption in .txt"
    if part.kind == layout.PAIRED and len(lines) != 1:
        return texts, "not one caption in .txt, which stock open_clip reads"
    return texts, ""
