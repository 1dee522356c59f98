"""The captions of paired shards as a stream of text."""

import tarfile
from collections.abc import Iterator

from sclip_plugin.data import tar
from sclip_plugin.data.samples import Skip, captions
from sclip_plugin.errors import DataError
from sclip_plugin.shards.readers.base import clean_caption


def read_captions(url: str) -> Iterator[str]:
    """The captions of one shard, as training reads them; images are passed over.

    Raises:
        DataError: the shard cannot be read to its end.
    """
    try:
        with tar.open_tar(url) as archive:

            def content(member: tarfile.TarInfo, suffix: str) -> bytes:
                return tar.read(archive, member) if suffix in ("json", "txt") else b""

            for _, _, members in tar.samples(archive, content):
                yield from _clean(members)
    except tar.UNREADABLE as error:
        raise DataError(f"{url}: {error}") from None


def _clean(members: dict[str, bytes]) -> list[str]:
    try:
        return [text for caption in captions(members) if (text := clean_caption(caption))]
    except Skip:
        return []
