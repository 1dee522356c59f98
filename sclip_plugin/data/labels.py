"""Labels that unpaired images have from the start, as the loader hands them on: it does not ask who made them.

Legend: M unpaired images in the set, N pairs, U unpaired images and B pairs of a batch, k pairs an image draws from.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sclip_plugin.data.shard_list import ShardSet

Place = tuple[int, int]  # (shard, position in it)


@dataclass(frozen=True)
class ImageLabels:
    """The pairs that every unpaired image draws its caption from.

    Attributes:
        nearest: int32 (M, k), rows of pairs in their set.
        weights: float32 (M, k), how much the image draws from each; a row sums to at most 1.
    """

    nearest: np.ndarray
    weights: np.ndarray


class Rows:
    """From the place of a sample to its row in the set: its number, shard after shard.

    Args:
        source: the set; the sizes of its shards must be known.

    Raises:
        ValueError: they are not.
    """

    def __init__(self, source: ShardSet) -> None:
        if source.sizes is None:
            raise ValueError(f"{source.shards.flag}: the sizes of the shards are not known: {source.unknown}")
        self._starts = np.cumsum(source.sizes) - source.sizes

    def of(self, places: list[Place]) -> Tensor:
        """int64 (n,): the rows of n samples."""
        found = np.array(places, dtype=np.int64).reshape(-1, 2)
        return torch.from_numpy(self._starts[found[:, 0]] + found[:, 1])


class BatchLabels:
    """Looks up what belongs to the samples of a batch.

    Args:
        labels: of the unpaired images.
        paired: the set of pairs.
        unpaired: the set of unpaired images, whose M samples the labels belong to.

    Raises:
        ValueError: the sizes of the shards are not known, or do not fit the labels.
    """

    def __init__(self, labels: ImageLabels, paired: ShardSet, unpaired: ShardSet) -> None:
        self._labels, self._pairs, self._images = labels, Rows(paired), Rows(unpaired)
        if len(labels.nearest) != unpaired.total:
            raise ValueError(f"labels of {len(labels.nearest)} images do not fit a set of {unpaired.total}")

    def of(self, pairs: list[Place], images: list[Place]) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of the pairs int64 (B,), and nearest int64 (U, k) and weights float32 (U, k) of the images."""
        rows = self._images.of(images).numpy()
        nearest = torch.from_numpy(self._labels.nearest[rows].astype(np.int64))
        return self._pairs.of(pairs), nearest, torch.from_numpy(self._labels.weights[rows])
