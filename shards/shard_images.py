"""The images of shards by their bytes: what is in two sets although it has two names."""

import hashlib
from collections.abc import Container, Iterable, Iterator
from functools import partial

from sclip_plugin.data import tar
from sclip_plugin.data.samples import IMAGE_SUFFIXES
from sclip_plugin.shards import layout
from sclip_plugin.shards.engines.engine import Engine
from sclip_plugin.shards.locator import SliceImage
from sclip_plugin.storage.location import Location, tars


def images(shards: Iterable[Location]) -> Iterator[tuple[Location, str, SliceImage]]:
    """(shard, key, image) of every image member; a damaged shard gives what stands before the damage."""
    for shard in shards:
        try:
            with tar.open_tar(str(shard), compressed=False) as archive:
                for member in tar.members(archive):
                    key, suffix = tar.split_key(tar.plain_name(member) or "")
                    if key is not None and suffix in IMAGE_SUFFIXES:
                        yield shard, key, SliceImage(str(shard), member.offset_data, member.size)
        except tar.UNREADABLE:
            continue


def digest(image: SliceImage) -> bytes:
    """The SHA-256 of an image."""
    return hashlib.sha256(image.read()).digest()


def training_shards(root: Location) -> list[Location]:
    """The tars of `paired/` and `unpaired/` in a folder, which need not be there."""
    folders = [root / layout.shard_folder(kind) for kind in (layout.PAIRED, layout.UNPAIRED)]
    return [shard for folder in folders for shard in tars(folder)]


def trained_digests(root: Location, sizes: Container[int], engine: Engine) -> Iterator[tuple[str, bytes]]:
    """(shard and key, SHA-256) of the images of a training set; of those of other sizes nothing but headers is read."""
    for found in engine.map(partial(_digests, sizes), training_shards(root)):
        yield from ((f"{shard}: {key}", content) for shard, key, _, content in found)


def _digests(sizes: Container[int] | None, shard: Location) -> list[tuple[Location, str, int, bytes]]:
    """(shard, key, size, SHA-256) of the images of a shard that have one of these sizes; None: of all."""
    return [
        (shard, key, image.size, digest(image))
        for _, key, image in images([shard])
        if sizes is None or image.size in sizes
    ]


def in_training(shards: Iterable[Location], root: Location, engine: Engine) -> Iterator[tuple[Location, str, str]]:
    """(shard, key, place in training) of each image of these shards whose bytes are in the training set at `root`."""
    sizes, held = set[int](), dict[bytes, list[tuple[Location, str]]]()
    for found in engine.map(partial(_digests, None), shards):
        for shard, key, size, content in found:
            sizes.add(size)
            held.setdefault(content, []).append((shard, key))
    for place, content in trained_digests(root, sizes, engine):
        for shard, key in held.pop(content, []):
            yield shard, key, place
