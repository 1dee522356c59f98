"""The captions of paired shards, as a stream of text or in a temporary file that can be read several times."""

import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol, TextIO

from tqdm import tqdm

from sclip_plugin.data import tar
from sclip_plugin.data.samples import Skip, captions
from sclip_plugin.errors import DataError
from sclip_plugin.shards.engines.engine import Engine
from sclip_plugin.shards.engines.local import HERE
from sclip_plugin.shards.readers.base import clean_caption


class Captions(Protocol):
    """Captions that can be read several times, in the same order each time: a list of texts, or a `CaptionSpool`."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[str]: ...


def progress(captions: Captions, stage: str) -> Iterator[str]:
    """The captions one by one, with a progress bar that bears the name of the stage."""
    return iter(tqdm(captions, desc=stage, unit="caption", disable=None))


class CaptionSpool:
    """Captions in a file, one a line, so that memory does not grow with their number.

    Only one reader at a time: a new pass begins at the first caption and ends an earlier one.

    Attributes:
        skipped: samples without a caption that can be used, by reason.
    """

    def __init__(self, file: TextIO, count: int, skipped: Mapping[str, int] | None = None) -> None:
        self._file, self._count, self.skipped = file, count, skipped or {}

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        self._file.seek(0)
        for line in self._file:
            yield line.rstrip("\n")


@contextmanager
def spooled(urls: Sequence[str], source: str = "shards", engine: Engine = HERE) -> Iterator[CaptionSpool]:
    """The captions of shards in a temporary file, which is removed at the end.

    Args:
        urls: paths, URLs or pipes of the shards.
        source: what error messages call the shards.
        engine: reads them.

    Raises:
        DataError: a shard cannot be read to its end, none of them holds a caption, or the temporary file cannot be
            written.
    """
    file = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closing may fail too)
    try:
        count, skipped = _fill(file, urls, engine)
        if not count:
            why = "; ".join(f"{number} samples: {reason}" for reason, number in sorted(skipped.items())) or "no sample"
            raise DataError(f"{source}: no captions in {len(urls)} shards (neither KEY.json nor KEY.txt; {why})")
        yield CaptionSpool(file, count, skipped)
    finally:
        with suppress(OSError):
            file.close()


def _fill(file: TextIO, urls: Sequence[str], engine: Engine) -> tuple[int, Counter[str]]:
    """Write the captions of shards to a file; returns how many, and what was skipped."""
    count, skipped = 0, Counter[str]()
    found = engine.map(_captions_of, urls)
    try:
        for captions, left_out in tqdm(found, total=len(urls), desc="reading captions", unit="shard", disable=None):
            file.writelines(caption + "\n" for caption in captions)
            count += len(captions)
            skipped += left_out
        file.flush()
    except OSError as error:  # of this file: those of the shards are `DataError`s
        raise DataError(f"{tempfile.gettempdir()}: temporary file: {error.strerror or error}") from None
    return count, skipped


def _captions_of(url: str) -> tuple[list[str], Counter[str]]:
    skipped = Counter[str]()
    return list(read_captions(url, skipped)), skipped


def read_captions(url: str, skipped: Counter[str] | None = None) -> Iterator[str]:
    """The captions of one shard as training reads them, each on one line; images are passed over.

    Args:
        url: path, URL or pipe.
        skipped: samples without a caption that can be used are counted here, by reason.

    Raises:
        DataError: the shard cannot be read to its end.
    """
    try:
        with tar.open_tar(url) as archive:

            def content(member: tarfile.TarInfo, suffix: str) -> bytes:
                return tar.read(archive, member) if suffix in ("json", "txt") else b""

            for _, _, members in tar.samples(archive, content):
                yield from _clean_captions(members, skipped)
    except tar.UNREADABLE as error:
        raise DataError(f"{url}: {error}") from None


def _clean_captions(members: dict[str, bytes], skipped: Counter[str] | None) -> list[str]:
    try:
        return [text for caption in captions(members) if (text := clean_caption(caption))]
    except Skip as reason:
        if skipped is not None:
            skipped[str(reason)] += 1
        return []
