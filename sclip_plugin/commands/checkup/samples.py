"""Samples of training shards as features of the start model, in bounded memory.

Legend: N samples, D width of the features.
"""

import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sclip_plugin.data.samples import Members, Skip, captions, image_bytes, read_samples
from sclip_plugin.data.shard_list import ShardList, look_up_sizes
from sclip_plugin.decoding import ImageFault, decode_rgb
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.features import Encoder, encoded_batches
from sclip_plugin.evaluation.models import Preprocess
from sclip_plugin.inspection.pictures import Picture
from sclip_plugin.shards.engines.local import Threads

FORWARD: Final = 64  # images in a forward pass
THUMBNAIL: Final = 160  # pixels of the longer side of what is kept to be looked at; a few kilobytes an image


@dataclass(frozen=True)
class Part:
    """The pairs, or the unpaired images, as far as they were encoded.

    Attributes:
        features: float32 (N, D), L2-normalised.
        pictures: the N images, made small, with their captions.
        groups: what the conversion says that a sample belongs to (a product, a patient), None where it says nothing.
        total: samples in the shards; None where nobody knows before reading them all.
        skipped: samples that cannot be used, by reason.
    """

    features: np.ndarray
    pictures: list[Picture]
    groups: list[str | None]
    total: int | None
    skipped: Counter[str]

    def __len__(self) -> int:
        return len(self.pictures)


@dataclass(frozen=True)
class _Plan:
    """What is read of some shards.

    Attributes:
        shards: the shards.
        total: samples in them, or None where nobody knows.
        quotas: int64 (shards,), how many samples of each are read, from its beginning.
        faults: what reading misses is counted here.
    """

    shards: ShardList
    total: int | None
    quotas: np.ndarray
    faults: Counter[str]

    @classmethod
    def of(cls, shards: ShardList, limit: int) -> "_Plan":
        """The plan to read at most `limit` samples."""
        sizes, _ = look_up_sizes(shards)
        if sizes is None:
            return cls(shards, None, _equal(len(shards), limit), Counter())
        return cls(shards, int(sizes.sum()), spread(sizes, limit), Counter())

    def members(self) -> Iterator[Members]:
        """The members of each sample that is read."""
        for url, quota in zip(self.shards.urls, self.quotas.tolist()):
            if quota:
                stop = None if self.total is None else quota
                for _, members in islice(read_samples(url, 0, stop, self.faults), quota):
                    yield members


def spread(sizes: np.ndarray, limit: int) -> np.ndarray:
    """How many samples each shard gives, so that at most `limit` are read and each shard gives its share: int64.

    Args:
        sizes: int64 (shards,), samples in each.
        limit: the most samples that are read, at least 1.
    """
    total = int(sizes.sum())
    ends = np.cumsum(sizes)
    if total > limit:
        ends = np.array([int(end) * limit // total for end in ends], dtype=np.int64)  # products may not fit 64 bits
    return np.diff(ends, prepend=0)


def _equal(shards: int, limit: int) -> np.ndarray:
    """The same for shards of unknown sizes, which are taken to be equal."""
    return np.diff(np.arange(shards + 1, dtype=np.int64) * limit // shards)


def read_part(
    shards: ShardList, limit: int, paired: bool, encoder: Encoder, preprocess: Preprocess, workers: int
) -> Part:
    """Encode the samples of shards: all of them, or an equal share of every shard, from its beginning.

    Memory holds the features, a small copy of each image and a few batches of pixels.

    Args:
        shards: where to read.
        limit: the most samples that are read, at least 1.
        paired: whether a sample needs a caption.
        encoder: the model, in eval mode.
        preprocess: PIL image → (3, H, W).
        workers: threads that decode images, at least 1.

    Raises:
        DataError: no sample can be used, or the model's features are not finite.
    """
    plan = _Plan.of(shards, limit)
    skipped: Counter[str] = Counter()
    features: list[Tensor] = []
    kept: list[tuple[Picture, str | None]] = []
    loaded = Threads(workers).map(lambda members: _load(members, paired, preprocess), plan.members())
    shown = tqdm(
        loaded, total=int(plan.quotas.sum()), desc=f"encoding {shards.flag}", unit="image", disable=None, leave=False
    )
    for batch, samples in encoded_batches(encoder, shown, FORWARD, skipped):
        features.append(batch)
        kept += samples
    skipped.update(plan.faults)
    if not kept:
        listed = ", ".join(f"{number} × {reason}" for reason, number in skipped.items()) or "no samples"
        raise DataError(f"{shards.flag}: no usable sample in {shards.pattern}; found {listed}")
    stacked = torch.cat(features)
    if not stacked.isfinite().all():
        raise DataError(f"{shards.flag}: the model gives features that are not finite numbers; its weights are damaged")
    pictures, groups = [picture for picture, _ in kept], [group for _, group in kept]
    return Part(stacked.numpy(), pictures, groups, plan.total, skipped)


def _load(members: Members, paired: bool, preprocess: Preprocess) -> tuple[Tensor, tuple[Picture, str | None]] | str:
    """The sample's pixels, its picture and its group, or the reason why it cannot be used."""
    try:
        data = image_bytes(members)
        said = tuple(captions(members)) if paired else ()
        image = decode_rgb(data)
    except (Skip, ImageFault) as reason:
        return str(reason)
    pixels = preprocess(image)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    small = io.BytesIO()
    image.save(small, "JPEG", quality=85)
    return pixels, (Picture(small.getvalue(), said), _group(members))


def _group(members: Members) -> str | None:
    """The group that `sclip convert --group-column` noted in the sample's `.json`."""
    try:
        about = json.loads(members.get("json", b"null"))
    except (ValueError, RecursionError):  # as training, which does without a .json that cannot be read
        return None
    group = about.get("group") if isinstance(about, dict) else None
    return group if isinstance(group, str) else None
