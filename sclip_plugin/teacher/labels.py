"""Pseudo-captions that the start model gives to every unpaired image, once and before training (ours).

Legend: N pairs, M unpaired images (rows of the sets, unusable samples included), k neighbours, D width, W ranks.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from sclip_plugin.data.labels import ImageLabels
from sclip_plugin.data.samples import captions
from sclip_plugin.data.shard_list import ShardSet
from sclip_plugin.diagnostics.calibration import Calibration, calibrate
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.features import Encoder, evaluating
from sclip_plugin.evaluation.models import Preprocess
from sclip_plugin.shards.keywords.stop_words import stop_words
from sclip_plugin.teacher.agreement import DECIMALS, Neighbours, content_words
from sclip_plugin.teacher.features import ALONE, Rank, encode_set
from sclip_plugin.teacher.settings import TeacherSettings

COMMON: Final = 0.05  # of the pairs; a word in more names a kind or a style, hardly the thing (ours)
BLOCK: Final = 1024  # images whose similarities to all pairs are held at a time

T = TypeVar("T")


@dataclass(frozen=True)
class Pairs:
    """The pairs as the start model sees them.

    Attributes:
        features: float32 (n, D) of the usable ones, L2-normalised.
        rows: int64 (n,), their rows in the set, rising.
        captions: for each row of the set, N in all, its captions; none where the pair cannot be used.
    """

    features: Tensor
    rows: np.ndarray
    captions: list[tuple[str, ...]]


@dataclass(frozen=True)
class StartLabels(ImageLabels):
    """The nearest pairs of every unpaired image, the nearest first, and how far they are trusted.

    A row of the weights sums to the trust in it, from 0 to 1. An image that cannot be used has 0.

    Attributes:
        captions: for each of the N rows of the pairs its captions; none where the pair cannot be used.
        calibration: from the cosine of a pair to the probability that its caption fits; None where there is no such
            trust.
    """

    captions: list[tuple[str, ...]]
    calibration: Calibration | None = None

    def trusts(self) -> np.ndarray:
        """float32 (M,), the trust in each image's pseudo-caption."""
        total: np.ndarray = self.weights.sum(axis=1)
        return total


def label_sets(
    paired: ShardSet,
    unpaired: ShardSet,
    encoder: Encoder,
    preprocess: Preprocess,
    settings: TeacherSettings,
    skipped: Counter[str],
    *,
    workers: int = 1,
    rank: Rank = ALONE,
    language: str = "en",
    look: Callable[[Pairs], None] | None = None,
) -> StartLabels:
    """Label every unpaired image; W ranks share the encoding, and each gets all the labels.

    The similarity of an image to its `neighbours` nearest pairs, as the start model sees them, is turned into weights
    by a softmax at the start model's own temperature. With trust `calibrated` each weight is multiplied by the
    probability that so similar images have captions that agree, that is, share a content word. It is measured on the
    pairs themselves, each against its nearest others.

    Args:
        paired: the pairs; the sizes of their shards must be known.
        unpaired: the unpaired images, likewise.
        encoder: the start model; it is put into eval mode meanwhile.
        preprocess: PIL image → (3, H, W).
        settings: the options.
        skipped: samples that cannot be used are counted here, by set and reason, over all ranks.
        workers: threads that decode images.
        rank: this process.
        language: of the captions, for the stop-words.
        look: is shown the pairs, on every rank, while the model is in eval mode; None: nobody looks.

    Raises:
        DataError: too few usable samples, or features that are not finite.
        ValueError: the sizes of the shards are not known.
    """
    lost: Counter[str] = Counter()  # unpaired images of this rank
    with evaluating(encoder.model), torch.inference_mode():
        pairs = _pairs(paired, encoder, preprocess, skipped, workers, rank)
        if look is not None:
            look(pairs)
        calibration = _calibration(pairs, language) if settings.trust == "calibrated" else None
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for numbers, features, _ in encode_set(
            unpaired, encoder, preprocess, lambda _: None, lost, workers=workers, rank=rank
        ):
            _check(features, unpaired.shards.flag)
            near, how = nearest_pairs(features.to(encoder.device), pairs, encoder.scale(), settings, calibration)
            parts.append((numbers, near, how))
    for one in _of_all_ranks(lost, rank):
        skipped.update({f"{unpaired.shards.flag}: {reason}": number for reason, number in one.items()})
    k = min(settings.neighbours, len(pairs.rows))
    total = int(unpaired.sizes.sum()) if unpaired.sizes is not None else 0
    labels = StartLabels(
        np.zeros((total, k), dtype=np.int32), np.zeros((total, k), dtype=np.float32), pairs.captions, calibration
    )
    for numbers, near, how in (part for each in _of_all_ranks(parts, rank) for part in each):
        labels.nearest[numbers], labels.weights[numbers] = near, how
    return labels


def _pairs(
    paired: ShardSet,
    encoder: Encoder,
    preprocess: Preprocess,
    skipped: Counter[str],
    workers: int,
    rank: Rank,
) -> Pairs:
    """The pairs, encoded by all ranks together."""
    lost: Counter[str] = Counter()
    own = encode_set(
        paired, encoder, preprocess, lambda members: tuple(captions(members)), lost, workers=workers, rank=rank
    )
    mine = list(own)
    for one in _of_all_ranks(lost, rank):
        skipped.update({f"{paired.shards.flag}: {reason}": number for reason, number in one.items()})
    parts = [part for each in _of_all_ranks(mine, rank) for part in each]
    total = int(paired.sizes.sum()) if paired.sizes is not None else 0
    if sum(len(numbers) for numbers, _, _ in parts) < 2:
        listed = ", ".join(f"{number} × {reason.split(': ')[1]}" for reason, number in skipped.items()) or "no samples"
        raise DataError(f"{paired.shards.flag}: fewer than two usable pairs; found {listed}")
    rows = np.concatenate([numbers for numbers, _, _ in parts])
    order = np.argsort(rows)
    features = torch.cat([part for _, part, _ in parts])[torch.from_numpy(order)]
    _check(features, paired.shards.flag)
    said: list[tuple[str, ...]] = [()] * total
    for numbers, _, kept in parts:
        for row, texts in zip(numbers.tolist(), kept):
            said[row] = texts
    return Pairs(features, rows[order], said)


def nearest_pairs(
    images: Tensor, pairs: Pairs, scale: Tensor, settings: TeacherSettings, calibration: Calibration | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the nearest pairs of images, int32 (m, k), and the weights of their captions, float32 (m, k).

    Equal cosines go to the pair of the lower row.

    Args:
        images: (m, D), L2-normalised.
        pairs: the pairs.
        scale: s = 1/τ of the start model, one element.
        settings: the options.
        calibration: for trust `calibrated`.
    """
    near, weights = [], []
    support = pairs.features.to(images.device)
    behind = torch.arange(len(support), device=images.device, dtype=torch.float64) * 1e-12
    for block in images.split(BLOCK):
        cosines = (block @ support.T).double().round(decimals=DECIMALS)
        found = (cosines - behind).topk(min(settings.neighbours, len(support)), dim=1).indices
        similarity = cosines.gather(1, found)
        share = torch.softmax(scale.double() * similarity, dim=1).cpu().numpy()
        values = similarity.cpu().numpy()
        if calibration is not None:
            share = share * calibration.at(values)
        if settings.threshold is not None:
            share = share * (values[:, :1] >= settings.threshold)
        near.append(pairs.rows[found.cpu().numpy()].astype(np.int32))
        weights.append(share.astype(np.float32))
    return np.concatenate(near), np.concatenate(weights)


def _calibration(pairs: Pairs, language: str) -> Calibration:
    """From the cosine of a pair's nearest others to how often their captions agree with its own."""
    bags = content_words([pairs.captions[row] for row in pairs.rows], stop_words(language), COMMON).bags
    neighbours = Neighbours(pairs.features.numpy(), np.arange(len(pairs.rows)))
    cosines, agree = [], []
    for row, (others, similarity) in enumerate(neighbours.rows()):
        closest = others[:OBSERVED]
        cosines.append(similarity[:OBSERVED].round(DECIMALS))
        agree.append(np.array([bool(bags[row] & bags[other]) for other in closest], dtype=np.float64))
    return calibrate(np.concatenate(cosines), np.concatenate(agree))


OBSERVED: Final = 3  # nearest others of each pair whose captions are compared with its own (ours)


def _check(features: Tensor, flag: str) -> None:
    if not torch.isfinite(features).all():
        raise DataError(f"{flag}: the start model gives features that are not finite numbers; its weights are damaged")


def _of_all_ranks(mine: T, rank: Rank) -> Sequence[T]:
    """What each rank has, in their order."""
    if rank.count == 1:
        return [mine]
    everybody: list[T | None] = [None] * rank.count
    dist.all_gather_object(everybody, mine)
    return [one for one in everybody if one is not None]
