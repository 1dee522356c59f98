"""One mixed batch, in the two parts that open_clip's loop takes: images and texts.

Legend: B pairs, U unpaired images, K keywords, L context length, k pairs that an image draws from. The loop asks for
`.to(device=, dtype=, non_blocking=)` and `len()`; `len` is B, so that its counts are those of the pairs.
"""

from collections import Counter
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class MixedImages:
    """The images of a batch.

    Attributes:
        pixels: (B+U, 3, H, W), the pairs first.
        num_paired: B.
    """

    pixels: Tensor
    num_paired: int

    def to(self, device=None, dtype=None, non_blocking=False) -> "MixedImages":
        """A copy of the batch on `device`, in `dtype` (None: as it is)."""
        return MixedImages(self.pixels.to(device=device, dtype=dtype, non_blocking=non_blocking), self.num_paired)

    def pin_memory(self) -> "MixedImages":
        """Called by the DataLoader."""
        return MixedImages(self.pixels.pin_memory(), self.num_paired)

    def __len__(self) -> int:
        return self.num_paired


@dataclass
class MixedTexts:
    """The texts of a batch.

    Attributes:
        tokens: (B, L), the captions.
        candidates: bool (B, K), which keywords each caption holds; None without a keyword level.
        rows: int64 (B,), the captions' rows in the set of pairs; None without labels.
        nearest: int64 (U, k), rows of the pairs that each unpaired image draws from; None without labels.
        weights: float32 (U, k), how much it draws from each; None without labels.
    """

    tokens: Tensor
    candidates: Tensor | None = None
    rows: Tensor | None = None
    nearest: Tensor | None = None
    weights: Tensor | None = None

    def to(self, device=None, non_blocking=False) -> "MixedTexts":
        """A copy of the batch on `device`."""
        return self._map(lambda tensor: tensor.to(device=device, non_blocking=non_blocking))

    def pin_memory(self) -> "MixedTexts":
        """Called by the DataLoader."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function) -> "MixedTexts":
        others = (self.candidates, self.rows, self.nearest, self.weights)
        return MixedTexts(function(self.tokens), *(None if one is None else function(one) for one in others))

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass
class MixedBatch:
    """What a loader's worker hands over.

    Attributes:
        images: the batch's images, pairs and unpaired ones, or the pairs' pixels alone; None where the worker cannot go
            on.
        texts: the batch's texts, or their tokens alone; None likewise.
        counts: what was read since the worker's last batch, by outcome ("paired: read", "paired: no caption", …).
        error: why the worker cannot go on; None where it can.
    """

    images: MixedImages | Tensor | None = None
    texts: MixedTexts | Tensor | None = None
    counts: Counter = field(default_factory=Counter)
    error: str | None = None

    def pin_memory(self) -> "MixedBatch":
        """Called by the DataLoader."""
        if self.images is None or self.texts is None:
            return self
        return MixedBatch(self.images.pin_memory(), self.texts.pin_memory(), self.counts)
