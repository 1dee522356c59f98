"""Samples out of one tar shard: members with one key, adjacent, by position."""

import os
import tarfile
from collections import Counter
from collections.abc import Iterator

from sclip_plugin.data.shardlist import is_local

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")  # what open_clip decodes


class StrictTarInfo(tarfile.TarInfo):
    """For `tarfile.open(…, tarinfo=StrictTarInfo)`: a damaged or cut header inside a tar is an error.

    By itself tarfile takes it for the end of the archive, and what follows is lost without a word.
    """

    @classmethod
    def fromtarfile(cls, tar):
        try:
            return super().fromtarfile(tar)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:
            raise tarfile.ReadError(f"{error} at byte {tar.offset}") from None


def split_key(name: str) -> tuple[str | None, str]:
    """("folder/key", "suffix") of a member name: split at the first dot of the base name, suffix lower-cased."""
    folder, base = os.path.split(name)
    stem, dot, suffix = base.partition(".")
    if not dot or not stem:
        return None, ""
    return os.path.join(folder, stem), suffix.lower()


def read_samples(url: str, first: int, stop: int | None, faults: Counter) -> Iterator[tuple[int, dict[str, bytes]]]:
    """Yield (position, {suffix: bytes}) for the samples of a shard at positions first … stop-1 (None: to its end).

    Members before `first` are not read from a local file, only passed over. A shard that cannot be opened or ends too
    early gives what it holds; `faults["unreadable shard"]` counts the samples that are missing (1 where unknown).
    """
    position = first
    try:
        with _open(url) as tar:
            for position, sample in _groups(tar, first, stop):
                yield position, sample
                position += 1
    except (tarfile.TarError, OSError, EOFError, ValueError):
        faults["unreadable shard"] += max(1, (stop if stop is not None else position + 1) - position)
        return
    if stop is not None and position < stop:
        faults["missing from shard"] += stop - position


class _open:
    """A tar by path, URL or pipe; seekable where it is a file."""

    def __init__(self, url: str):
        self.url = url

    def __enter__(self) -> tarfile.TarFile:
        if is_local(self.url):
            self.stream = None
            self.tar = tarfile.open(self.url, tarinfo=StrictTarInfo)
        else:
            from webdataset.gopen import gopen

            self.stream = gopen(self.url)
            self.tar = tarfile.open(fileobj=self.stream, mode="r|*", tarinfo=StrictTarInfo)
        return self.tar

    def __exit__(self, *exc) -> None:
        self.tar.close()
        if self.stream is not None:
            self.stream.close()


def _groups(tar: tarfile.TarFile, first: int, stop: int | None) -> Iterator[tuple[int, dict[str, bytes]]]:
    key, sample, position = None, {}, -1
    for member in tar:
        tar.members = []  # tarfile keeps every header otherwise
        if not member.isfile():
            continue
        member_key, suffix = split_key(member.name)
        if member_key is None:
            continue
        if member_key != key:
            if sample:
                yield position, sample
            key, sample, position = member_key, {}, position + 1
            if stop is not None and position >= stop:
                return
        if position >= first:
            sample[suffix] = tar.extractfile(member).read()
    if sample:
        yield position, sample
