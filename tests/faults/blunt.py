"""Mutations of bytes and of files as such, which know nothing of a format."""

import os
from pathlib import Path

from tests.faults.damage import Damage, Rng


def flip(rng: Rng, data: bytes) -> bytes:
    """Some bytes get another value."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        if found:
            found[rng.randrange(len(found))] = rng.randrange(256)
    return bytes(found)


def truncate(rng: Rng, data: bytes) -> bytes:
    """The end is missing."""
    return data[: rng.randrange(len(data) + 1)]


def empty(rng: Rng, data: bytes) -> bytes:
    """Nothing is left."""
    return b""


def splice(rng: Rng, data: bytes) -> bytes:
    """A piece stands in another place, over what was there."""
    start, to, length = (rng.randrange(len(data) + 1) for _ in range(3))
    piece = data[start : start + length]
    return data[:to] + piece + data[to + len(piece) :]


def repeat(rng: Rng, data: bytes) -> bytes:
    """A piece stands there twice."""
    start = rng.randrange(len(data) + 1)
    stop = start + rng.randrange(1, 600)
    return data[:stop] + data[start:stop] + data[stop:]


def cut_out(rng: Rng, data: bytes) -> bytes:
    """A piece is missing in the middle."""
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.randrange(1, 600) :]


def insert_junk(rng: Rng, data: bytes) -> bytes:
    """Random bytes stand in the middle."""
    start = rng.randrange(len(data) + 1)
    return data[:start] + rng.randbytes(rng.choice((1, 4, 512, 5000))) + data[start:]


def zero_block(rng: Rng, data: bytes) -> bytes:
    """A stretch is zero, as after a lost block of the disk."""
    start = rng.randrange(len(data) + 1)
    length = min(rng.choice((4, 512, 4096)), len(data) - start)
    return data[:start] + bytes(length) + data[start + length :]


BYTES = (flip, truncate, empty, splice, repeat, cut_out, insert_junk, zero_block)


def break_bytes(
    rng: Rng, root: Path, path: Path, *, images: bool = False, lost: tuple[int, int] | None = None
) -> Damage:
    """Break a file's bytes in one of the ways of `BYTES`."""
    way, data = rng.choice(BYTES), path.read_bytes()
    broken = way(rng, data)
    path.write_bytes(broken)
    if broken == data:
        return Damage(f"bytes: {way.__name__} that changes nothing", lost=(0, 0), whole=True)
    return Damage(f"bytes: {way.__name__}", str(path.relative_to(root)), images, lost)


def replace_file(rng: Rng, root: Path, path: Path, *, fifo: bool = False) -> Damage:
    """Something that is no plain file stands in a file's place.

    Args:
        fifo: whether it may be a FIFO. One that a user names is read, as in `--keywords <(command)`; one that a program
            finds in a folder must not be opened.
    """
    kind = rng.choice(("missing", "folder", "link out", "dead link", "loop", *(("fifo",) if fifo else ())))
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "link out":
        path.symlink_to(root.parent / "outside" / "secret.txt")
    elif kind == "dead link":
        path.symlink_to("nowhere")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "fifo":
        os.mkfifo(path)
    return Damage(f"a {kind} in its place" if kind != "missing" else kind, str(path.relative_to(root)))


STRANGE_NAMES = (
    b"a\nb",
    b"a\rb",
    b"\xff\xfe",
    b"x" * 240,
    b"a\x1b[31mb",
    "a\u2028b".encode(),
    b" lead",
    b"a.b.c",
    b"-flag",
)


def rename_file(rng: Rng, root: Path, path: Path) -> Damage:
    """A file gets a name that is hard to handle; its suffix stays."""
    strange = rng.choice(STRANGE_NAMES)
    target = os.path.join(os.fsencode(path.parent), strange + os.fsencode(path.suffix))
    os.rename(os.fsencode(path), target)
    return Damage(f"renamed to {strange!r}", str(path.relative_to(root)), lost=(1, 3))
