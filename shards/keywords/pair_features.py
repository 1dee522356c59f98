"""Pairs as the start model sees them: their captions, and the features of their images.

Legend: N pairs, D embedding width.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from sclip_plugin.data.samples import Members, Skip, captions, count_samples_in, image_bytes, read_samples
from sclip_plugin.data.shard_list import ShardList, count_samples
from sclip_plugin.decoding import ImageFault, decode_rgb
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.features import Encoder, encoded_batches
from sclip_plugin.evaluation.models import Preprocess

MOST_PAIRS = 4000  # that are looked at: minutes on a CPU, and 64 MB for the similarities of their captions (ours)
BATCH = 64  # images encoded at a time


@dataclass(frozen=True)
class PairFeatures:
    """N pairs of a set of shards.

    Attributes:
        captions: of each pair, all its captions.
        images: (N, D) L2-normalised features of their images.
        samples: how many samples the shards hold.
        skipped: samples that were looked at and cannot be used, by reason.
    """

    captions: list[tuple[str, ...]]
    images: Tensor
    samples: int
    skipped: Counter[str]


def pair_features(shards: ShardList, encoder: Encoder, preprocess: Preprocess, most: int = MOST_PAIRS) -> PairFeatures:
    """Read pairs and encode their images, a batch in memory at a time.

    Of more than `most` samples, evenly spaced ones are looked at. A shard that ends too early gives what it holds.

    Args:
        shards: paired shards.
        encoder: the start model.
        preprocess: PIL image → (3, H, W).
        most: pairs that are looked at.

    Raises:
        DataError: no sample has both an image that decodes and a caption.
    """
    sizes = count_samples(shards)
    total = sum(map(count_samples_in, shards.urls)) if sizes is None else int(sizes.sum())
    skipped: Counter[str] = Counter()
    found: list[tuple[str, ...]] = []
    features: list[Tensor] = []
    chosen = _chosen(shards, total, most, skipped)
    bar = tqdm(chosen, total=min(total, most), desc="looking at pairs", unit="pair", disable=None)
    for batch, texts in encoded_batches(encoder, (_load(members, preprocess) for members in bar), BATCH, skipped):
        features.append(batch)
        found += texts
    if not found:
        listed = ", ".join(f"{number} × {reason}" for reason, number in sorted(skipped.items())) or "no samples"
        raise DataError(f"{shards.flag}: {shards.pattern}: --prune looks at images and finds none to use ({listed})")
    return PairFeatures(found, torch.cat(features), total, skipped)


def _load(members: Members, preprocess: Preprocess) -> tuple[Tensor, tuple[str, ...]] | str:
    """The pair's pixels and captions, or the reason why it cannot be used."""
    try:
        texts = tuple(captions(members))
        return preprocess(decode_rgb(image_bytes(members))), texts
    except (Skip, ImageFault) as reason:
        return str(reason)


def _chosen(shards: ShardList, total: int, most: int, faults: Counter[str]) -> Iterator[Members]:
    """The members of all samples, or of `most` evenly spaced ones."""
    position = 0
    for url in shards.urls:
        for _, members in read_samples(url, 0, None, faults):
            if total <= most or position * most // total != (position - 1) * most // total:
                yield members
            position += 1
