"""A sample of a shard, as bytes: reading samples by position, and finding the image and the captions in one."""

import json
import logging
from collections import Counter
from collections.abc import Iterator

from sclip_plugin.data import tar

Members = dict[str, bytes]  # the members of a sample by suffix

IMAGE_SUFFIXES = ("jpg", "png", "jpeg", "webp")  # what open_clip reads, in the order in which it prefers them
UNREADABLE_SHARD, MISSING = "unreadable shard", "missing from shard"


class Skip(Exception):
    """The sample cannot be used. The message is the reason under which it is counted."""


def read_samples(url: str, first: int, stop: int | None, faults: Counter) -> Iterator[tuple[int, Members]]:
    """(position, members) of the samples of a shard at positions first … stop-1.

    Members before `first` are not read, only passed over. A shard that cannot be opened or ends too
    early gives what it holds.

    Args:
        url: path, URL or pipe.
        first: position of the first sample.
        stop: position after the last one; None: to the end of the shard.
        faults: `UNREADABLE_SHARD` and `MISSING` are counted here, by the number of samples that are missing (1 where it
            is unknown).

    Raises:
        StoreDown: a store does not answer, however often it is asked.
    """
    position = first
    try:
        with tar.open_tar(url) as archive:
            for position, _, members in tar.samples(archive, lambda one, _: tar.read(archive, one), first, stop):
                yield position, members
                position += 1
    except tar.UNREADABLE as error:
        faults[UNREADABLE_SHARD] += max(1, (stop if stop is not None else position + 1) - position)
        if not tar.is_local(url):  # nobody else can look at it in passing
            logging.warning(f"sclip_plugin: {url}: {' '.join(str(error).removeprefix(f'{url}: ').split())}")
        return
    if stop is not None and position < stop:
        faults[MISSING] += stop - position


def count_samples_in(url: str) -> int:
    """Samples in a shard, by its headers alone; of a damaged one, those that can be read.

    Reading the shard for training reports the damage and counts what is missing.
    """
    count = 0
    try:
        with tar.open_tar(url) as archive:
            for _ in tar.samples(archive, lambda *_: None):
                count += 1
    except tar.UNREADABLE:
        pass
    return count


def image_bytes(members: Members) -> bytes:
    """The first image member, in the order in which open_clip prefers them.

    Raises:
        Skip: there is none.
    """
    for suffix in IMAGE_SUFFIXES:
        if suffix in members:
            return members[suffix]
    raise Skip("no image")


def captions(members: Members) -> list[str]:
    """The captions of a pair: `captions` of its `.json` where it has some, else its `.txt`; never empty.

    Raises:
        Skip: there is no caption.
    """
    found = _listed(members["json"]) if "json" in members else []
    if not found:
        if "txt" not in members:
            raise Skip("no caption")
        found = [members["txt"].decode("utf-8", errors="replace")]
    found = [text.strip() for text in found if text.strip()]
    if not found:
        raise Skip("empty caption")
    return found


def _listed(data: bytes) -> list[str]:
    """The texts under `captions` of a JSON object; [] where the member is anything else."""
    try:
        about = json.loads(data)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested without end
        return []
    listed = about.get("captions") if isinstance(about, dict) else None
    if isinstance(listed, str):
        return [listed]
    return [text for text in listed if isinstance(text, str)] if isinstance(listed, list) else []
