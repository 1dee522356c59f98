"""Reading tar shards: the only module that walks through tars.

`open_tar` opens a path, a URL or a pipe; `samples` gives the runs of adjacent members that share a key. Both hold out
against damaged and hostile archives: sizes are checked, each header moves the reader on, and what cannot be read raises
one of `UNREADABLE` instead of ending the archive without a word or reading for ever.
"""

import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

from sclip_plugin.storage.remote_file import RemoteFile
from sclip_plugin.storage.urls import PIPE, is_url

T = TypeVar("T")

#: what reading a damaged, truncated or missing archive may raise
UNREADABLE = (tarfile.TarError, OSError, EOFError, ValueError, MemoryError, zlib.error, lzma.LZMAError)

LONGEST_EXTENDED_HEADER = 1 << 20  # bytes of a long name or a pax header; real ones have a few hundred
LARGEST_MEMBER = 1 << 62  # bytes; beyond this a position does not fit the system's file offsets
_EXTENDED = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_END_OF_ARCHIVE = ("EOFHeaderError", "EmptyHeaderError")  # tarfile's own, private names


def is_local(url: str) -> bool:
    """True for a plain path; False for pipes, which webdataset opens, and for URLs, which fsspec opens."""
    return not url.startswith(PIPE) and not is_url(url)


def split_key(name: str) -> tuple[str | None, str]:
    """("folder/key", "suffix") of a member's name, split at the first dot of its last part, the suffix in lower case.

    The key is None for a name without a dot, or with nothing before it: such a member belongs to no sample.
    """
    folder, base = os.path.split(name)
    stem, dot, suffix = base.partition(".")
    if not dot or not stem:
        return None, ""
    return os.path.join(folder, stem), suffix.lower()


class StrictTarInfo(tarfile.TarInfo):
    """A header of a tar, read strictly.

    By itself `tarfile` takes a damaged or truncated header for the end of the archive, so that what follows is lost
    without a word, and a negative size for a way back, so that it reads for ever. Both are errors here.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "StrictTarInfo":
        """One header block; called by `tarfile`."""
        found = super().frombuf(buf, encoding, errors)
        if not 0 <= found.size <= LARGEST_MEMBER:
            raise tarfile.HeaderError(f"impossible size {found.size}")
        if found.type in _EXTENDED and found.size > LONGEST_EXTENDED_HEADER:
            raise tarfile.HeaderError(f"extended header of {found.size} bytes")
        return found

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> "StrictTarInfo":
        """The next header, extended ones included; called by `tarfile`."""
        start = tar.offset
        try:
            found = super().fromtarfile(tar)
        except tarfile.HeaderError as error:
            if type(error).__name__ in _END_OF_ARCHIVE:
                raise
            raise tarfile.ReadError(f"{error} at byte {start}") from None
        except (ValueError, OverflowError, IndexError, RecursionError, TypeError) as error:
            raise tarfile.ReadError(f"{error} at byte {start}") from None
        if not 0 <= found.size <= LARGEST_MEMBER or tar.offset <= start:
            raise tarfile.ReadError(f"impossible size {found.size} at byte {start}")
        length = getattr(tar, "sclip_length", None)
        if length is not None and found.isfile() and not found.issparse() and found.offset_data + found.size > length:
            raise tarfile.ReadError(f"unexpected end of data: {found.name} at byte {start} is {found.size} bytes long")
        return found


@contextmanager
def open_tar(url: str, *, compressed: bool = True) -> Iterator[tarfile.TarFile]:
    """A tar by path, URL or pipe, for `samples` or `members`. Files and objects are seekable, a pipe is a stream.

    Args:
        url: where it is.
        compressed: whether a file or object may be compressed; offsets of members are positions in it only where it is
            not.

    Raises:
        StoreDown: a store does not answer, however often it is asked; whoever counts damaged shards lets it pass.
        One of `UNREADABLE`.
    """
    mode: Literal["r", "r:"] = "r" if compressed else "r:"
    if is_local(url):
        with tarfile.open(url, mode, tarinfo=StrictTarInfo) as tar:
            if isinstance(tar.fileobj, io.BufferedReader):  # not compressed: the length of the file is known
                tar.sclip_length = os.path.getsize(url)  # type: ignore[attr-defined]
            yield tar
    elif is_url(url):
        with RemoteFile(url) as file, tarfile.open(fileobj=file, mode=mode, tarinfo=StrictTarInfo) as tar:
            if tar.fileobj is file:
                tar.sclip_length = file.size  # type: ignore[attr-defined]
            yield tar
    else:
        with _piped(url) as tar:
            yield tar


@contextmanager
def _piped(url: str) -> Iterator[tarfile.TarFile]:
    """The tar that a program writes."""
    from webdataset.gopen import gopen

    stream = gopen(url)
    try:
        with tarfile.open(fileobj=stream, mode="r|*", tarinfo=StrictTarInfo) as tar:
            yield tar
    finally:
        stream.close()


def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of an opened tar in order, in bounded memory.

    Raises:
        One of `UNREADABLE`.
    """
    for member in tar:
        tar.members = []  # type: ignore[attr-defined]  # tarfile keeps every header otherwise
        yield member


def read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The bytes of a member that is a file.

    Raises:
        One of `UNREADABLE`.
    """
    file = tar.extractfile(member)
    if file is None:
        raise tarfile.ReadError(f"{member.name} is not a file")
    return file.read()


def plain_name(member: tarfile.TarInfo) -> str | None:
    """The name of a member that is an ordinary file; None for folders, links, devices and sparse files."""
    return member.name if member.isfile() and not member.issparse() else None


def samples(
    tar: tarfile.TarFile,
    content: Callable[[tarfile.TarInfo, str], T],
    first: int = 0,
    stop: int | None = None,
    name_of: Callable[[tarfile.TarInfo], str | None] = plain_name,
) -> Iterator[tuple[int, str, dict[str, T]]]:
    """(position, key, {suffix: content}) of each run of members with one key.

    A member without a key belongs to no sample and does not end the one around it.

    Args:
        tar: from `open_tar`.
        content: (member, suffix) → what the sample holds for it. Called while the reader stands at the member, so that
            it may read it from a stream.
        first: position of the first sample that is given; `content` is not called for the ones before it.
        stop: position before which to stop; None: at the end.
        name_of: the name under which a member counts, None for one that is passed over.

    Raises:
        One of `UNREADABLE`.
    """
    key: str | None = None
    sample: dict[str, T] = {}
    position = -1
    for member in members(tar):
        name = name_of(member)
        found, suffix = split_key(name) if name else (None, "")
        if found is None:
            continue
        if found != key:
            if key is not None and position >= first:
                yield position, key, sample
            key, sample, position = found, {}, position + 1
            if stop is not None and position >= stop:
                return
        if position >= first:
            sample[suffix] = content(member, suffix)
    if key is not None and position >= first:
        yield position, key, sample
