"""Damage to tars: their headers, names, order, and the members' contents."""

import gzip
import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import blunt, pictures
from tests.faults.damage import Damage, Rng
from tests.faults.values import TEXTS, break_document, encode, hostile

IMAGES = ("jpg", "jpeg", "png", "webp")


@dataclass
class Member:
    """A member that is to be written; `header` bytes, where given, stand in the header as they are."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    pax: dict[str, str] = field(default_factory=dict)
    patch: tuple[int, bytes] | None = None  # (offset in the header, bytes)

    def block(self) -> bytes:
        """The member as it stands in the tar, its checksum right."""
        info = tarfile.TarInfo(self.name)
        info.type, info.linkname, info.pax_headers = self.kind, self.link, self.pax
        info.size = len(self.data)
        form = tarfile.PAX_FORMAT if self.pax else tarfile.GNU_FORMAT
        header = bytearray(info.tobuf(form, "utf-8", "surrogateescape"))
        if self.patch:
            start = len(header) - 512 + self.patch[0]
            header[start : start + len(self.patch[1])] = self.patch[1]
            header[-512:] = _summed(header[-512:])
        return bytes(header) + self.data + bytes(-len(self.data) % 512)


def _summed(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def read(path: Path) -> list[Member]:
    """The members of a sound tar."""
    with tarfile.open(path) as tar:
        return [Member(one.name, tar.extractfile(one).read()) for one in tar if one.isfile()]


def write(path: Path, members: list[Member]) -> None:
    """Write a tar."""
    path.write_bytes(b"".join(one.block() for one in members) + bytes(1024))


SIZES = (
    b"\xff" * 8 + (-512 % 2**32).to_bytes(4, "big"),
    b"\x80" + b"\0" * 3 + b"\xff" * 8,
    b"77777777777\0",
    b"-0000001000\0",
    b"zzzzzzzzzzz\0",
    b"\x80" + b"\xff" * 11,
    b"\0" * 12,
)


def break_tar(rng: Rng, root: Path, path: Path) -> Damage:
    """Change one thing in a tar."""
    if rng.random() < 0.25:
        return blunt.break_bytes(rng, root, path, images=True)
    members = read(path)
    number = rng.randrange(len(members))
    way = rng.choice((_content, _content, _content, _size, _name, _twice, _special, _apart, _pax, _outside))
    what, lost, images = way(rng, members, number)
    write(path, members)
    if rng.random() < 0.03:
        path.write_bytes(gzip.compress(path.read_bytes()))
        what += ", compressed"
    elif rng.random() < 0.03:
        path.write_bytes(path.read_bytes() + rng.randbytes(700))
        what += ", junk at its end"
    return Damage(f"tar: member {number} {what}", str(path.relative_to(root)), images, lost)


Way = tuple[str, tuple[int, int] | None, bool]


def _content(rng: Rng, members: list[Member], number: int) -> Way:
    one = members[number]
    suffix = one.name.rpartition(".")[2]
    if suffix in IMAGES:
        one.data, what = pictures.broken(rng, one.data)
        return f"image: {what}", (0, 0), True
    if suffix == "json" and rng.random() < 0.8:
        document, what, _ = break_document(rng, json.loads(one.data))
        one.data = encode(document, rng)
        return f"JSON: {what}", (0, 3), False
    one.data = rng.choice(
        (b"", b"\xff\xfe", b"a\nb\nc", str(hostile(rng)).encode("utf-8", "replace")[:10_000], b"9" * 30)
    )
    return f"= {one.data[:30]!r}", (0, 3), False


def _size(rng: Rng, members: list[Member], number: int) -> Way:
    value = rng.choice(SIZES)
    members[number].patch = (124, value)
    return f"size field {value!r}", (1, 3), False


def _name(rng: Rng, members: list[Member], number: int) -> Way:
    suffix = members[number].name.rpartition(".")[2]
    names = (
        "../../evil",
        "/tmp/evil",
        "a\nb",
        "a\x1bb",
        "x" * 300,
        "\udcff",
        "a.b",
        ".hidden",
        "",
        "a/../../b",
        "a\u2028b",
        " ",
    )
    members[number].name = f"{rng.choice(names)}.{suffix}"
    return f"named {members[number].name[:40]!r}", (1, 3), False


def _twice(rng: Rng, members: list[Member], number: int) -> Way:
    members.insert(rng.choice((number, len(members))), Member(members[number].name, members[number].data))
    return "twice", (1, 3), False


def _special(rng: Rng, members: list[Member], number: int) -> Way:
    kinds = (
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.FIFOTYPE,
        tarfile.CHRTYPE,
        tarfile.DIRTYPE,
        tarfile.GNUTYPE_SPARSE,
        b"Z",
    )
    members[number].kind, members[number].link = rng.choice(kinds), "/etc/passwd"
    return f"of type {members[number].kind!r}", (1, 3), False


def _apart(rng: Rng, members: list[Member], number: int) -> Way:
    members.append(members.pop(number))
    return "stands at the end, apart from its sample", (1, 3), False


def _pax(rng: Rng, members: list[Member], number: int) -> Way:
    key = rng.choice(("path", "size", "mtime", "GNU.sparse.size", "GNU.sparse.map", "hdrcharset", "linkpath"))
    value = rng.choice([text for text in TEXTS if "\ud800" not in text and "\ud83d" not in text and text])
    members[number].pax = {key: value[:5000]}
    return f"extended header {key}={value[:30]!r}", (1, 3), False


def _outside(rng: Rng, members: list[Member], number: int) -> Way:
    members.insert(0, Member("../outside/planted.txt", b"planted"))
    return "after a member that leads out", (0, 0), False


def pack(members: list[tuple[str, bytes]]) -> bytes:
    """A tar in memory."""
    buffer = io.BytesIO()
    buffer.write(b"".join(Member(name, data).block() for name, data in members) + bytes(1024))
    return buffer.getvalue()
