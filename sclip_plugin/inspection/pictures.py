"""A few samples out of training shards, to look at."""

from collections import Counter
from dataclasses import dataclass

from PIL import Image

from sclip_plugin.data.samples import Members, Skip, captions, image_bytes, read_samples
from sclip_plugin.data.shard_list import ShardList
from sclip_plugin.decoding import ImageFault, decode_rgb
from sclip_plugin.errors import DataError

SHARDS = 16  # that are opened at most


@dataclass(frozen=True)
class Picture:
    """An encoded image, and its captions.

    Attributes:
        data: the bytes of the image as they stand in the shard.
        captions: empty for an unpaired image.
    """

    data: bytes
    captions: tuple[str, ...] = ()

    def open(self) -> Image.Image:
        """The decoded image in RGB.

        Raises:
            ImageFault: the image cannot be used.
        """
        return decode_rgb(self.data)


def read_pictures(shards: ShardList, limit: int, paired: bool) -> list[Picture]:
    """The first usable samples of up to `SHARDS` shards, evenly divided and taken in turn.

    The same shards give the same samples.

    Args:
        shards: where to read.
        limit: the most samples that are returned, at least 1.
        paired: whether a sample needs a caption.

    Raises:
        DataError: no sample in them can be used.
    """
    step = max(1, len(shards) // SHARDS)
    chosen = shards.urls[::step][:SHARDS]
    share = -(-limit // len(chosen))
    found: list[list[Picture]] = []
    skipped: Counter[str] = Counter()
    for url in chosen:
        found.append([])
        for _, members in read_samples(url, 0, None, skipped):
            picture = usable_picture(members, paired, skipped)
            if picture is not None:
                found[-1].append(picture)
            if len(found[-1]) >= share:
                break
    in_turn = [part[n] for n in range(share) for part in found if n < len(part)]
    if not in_turn:
        listed = ", ".join(f"{number} × {reason}" for reason, number in skipped.items()) or "no samples"
        raise DataError(f"{shards.flag}: no usable sample in {len(chosen)} shards; found {listed}")
    return in_turn[:limit]


def usable_picture(members: Members, paired: bool, skipped: Counter[str]) -> Picture | None:
    """A sample's picture; None where it cannot be used, which is counted by reason.

    Args:
        members: the sample.
        paired: whether it needs a caption.
        skipped: where it is counted.
    """
    try:
        picture = Picture(image_bytes(members), tuple(captions(members)) if paired else ())
    except Skip as reason:
        skipped[str(reason)] += 1
        return None
    try:
        picture.open()
    except ImageFault as fault:
        skipped[str(fault)] += 1
        return None
    return picture
