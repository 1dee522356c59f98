"""The images of training shards as features of a model, whole sets, shared out between ranks.

Legend: N samples in the shards, D width of the features, W ranks.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from torch import Tensor
from tqdm import tqdm

from sclip_plugin.data.samples import Members, Skip, image_bytes, read_samples
from sclip_plugin.data.shard_list import ShardSet
from sclip_plugin.decoding import ImageFault, decode_rgb
from sclip_plugin.evaluation.features import Encoder, encoded_batches
from sclip_plugin.evaluation.models import Preprocess
from sclip_plugin.shards.engines.local import Threads

FORWARD: Final = 64  # images in a forward pass

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Rank:
    """One of W processes that share the work.

    Attributes:
        number: this one, from 0.
        count: W.
    """

    number: int = 0
    count: int = 1


ALONE: Final = Rank()


def encode_set(
    source: ShardSet,
    encoder: Encoder,
    preprocess: Preprocess,
    keep: Callable[[Members], Kept],
    skipped: Counter[str],
    *,
    workers: int = 1,
    rank: Rank = ALONE,
) -> Iterator[tuple[np.ndarray, Tensor, list[Kept]]]:
    """Yield batches of a rank's samples: their rows int64 (n,), features (n, D) on the CPU, and what is kept of each.

    A sample's row is its number among the N of the set, shard after shard. Rank r has rows r, r + W, …. Every rank
    reads all shards, and decodes its own part.

    Args:
        source: the set; its sizes must be known.
        encoder: the model, in eval mode.
        preprocess: PIL image → (3, H, W).
        keep: what is kept of a sample besides its features; raises `Skip` where it cannot be used.
        skipped: samples of this rank that cannot be used are counted here, by reason.
        workers: threads that decode images, at least 1.
        rank: this process.

    Raises:
        ValueError: the sizes of the shards are not known.
    """
    if source.sizes is None:
        raise ValueError(f"the sizes of the shards are not known: {source.unknown}")
    sizes = source.sizes
    starts = np.cumsum(sizes) - sizes
    faults: Counter[str] = Counter()

    def members() -> Iterator[tuple[int, Members]]:
        for url, start, size in zip(source.shards.urls, starts.tolist(), sizes.tolist()):
            for position, found in read_samples(url, 0, size, faults):
                if (start + position) % rank.count == rank.number:
                    yield start + position, found

    def load(item: tuple[int, Members]) -> tuple[Tensor, tuple[int, Kept]] | str:
        row, found = item
        try:
            return preprocess(decode_rgb(image_bytes(found))), (row, keep(found))
        except (Skip, ImageFault) as reason:
            return str(reason)

    mine = len(range(rank.number, int(sizes.sum()), rank.count))
    loaded = tqdm(
        Threads(workers).map(load, members()),
        total=mine,
        desc=f"{source.shards.flag}: what the start model sees",
        unit="image",
        disable=True if rank.number else None,
        leave=False,
    )
    for features, kept in encoded_batches(encoder, loaded, FORWARD, skipped):
        yield np.array([row for row, _ in kept], dtype=np.int64), features, [one for _, one in kept]
    if rank.number == 0:
        skipped.update(faults)
