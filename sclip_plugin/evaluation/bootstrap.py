"""How far a measure would move with other images: bootstrap over the images of a set.

The images are drawn with replacement, each with all its captions; the gallery that a query is compared with stays as it
is. The same seed draws the same images for every model, so that replicates of two models may be subtracted.

Legend: N images, M texts, S bootstrap samples.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from sclip_plugin.evaluation.names import CLASSIFICATION_METRICS, RECALL_RANKS, REGION_METRICS, recall_name

LEVEL = 0.95  # of the intervals; ours, the usual one
CHUNK = 1 << 24  # drawn numbers held at a time

# The arrays that an evaluation of each kind fills in.
_CLASSIFICATION_RANKS = {"class", "label", "classes"}
_RETRIEVAL_RANKS = {"image", "owner", "text"}
_REGION_RANKS = {"region", "caption", "chance", "picture"}


def replicates(
    ranks: Mapping[str, np.ndarray], samples: int, seed: int = 0, recall_ranks: Sequence[int] = RECALL_RANKS
) -> dict[str, np.ndarray]:
    """S values (S,) of each metric, under the names of `retrieval_metrics`, `classification_metrics` or regions.

    Args:
        ranks: what an evaluation fills in. Retrieval: `image` (M,) and `owner` (M,), rank of each text's image and
            which it is; `text` (N,), rank of each image's first right text. Classification: `class` (N,), rank of each
            image's class, or (T, N) in each of T trials, of which the mean is taken; `label` (N,), its number;
            `classes` (), how many classes there are. Regions: `region`, `caption` and `chance` (R,), and `picture`
            (R,), the number of the picture that each is of; whole pictures are drawn.
        samples: S, at least 1.
        seed: of the draws.
        recall_ranks: each k of retrieval.

    Raises:
        ValueError: S is below 1, or the ranks are of no kind.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    if set(ranks) >= _CLASSIFICATION_RANKS:
        parts = [_classification(ranks, weights) for weights in _draws(len(ranks["label"]), samples, seed)]
    elif set(ranks) >= _RETRIEVAL_RANKS:
        parts = [_retrieval(ranks, weights, recall_ranks) for weights in _draws(len(ranks["text"]), samples, seed)]
    elif set(ranks) >= _REGION_RANKS:
        parts = [_regions(ranks, weights) for weights in _draws(int(ranks["picture"].max()) + 1, samples, seed)]
    else:
        raise ValueError(f"ranks of no kind of set: {sorted(ranks)}")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _draws(images: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Float (s, N) parts: how often each image was drawn in each of the S samples."""
    rng = np.random.default_rng(seed)
    chunk = max(1, CHUNK // images)
    for first in range(0, samples, chunk):
        drawn = rng.integers(images, size=(min(chunk, samples - first), images))
        yield np.stack([np.bincount(row, minlength=images) for row in drawn]).astype(np.float64)


def _retrieval(
    ranks: Mapping[str, np.ndarray], weights: np.ndarray, recall_ranks: Sequence[int]
) -> dict[str, np.ndarray]:
    images = weights.shape[1]
    captions = weights @ np.bincount(ranks["owner"], minlength=images)
    found = {}
    for k in recall_ranks:
        hits = np.bincount(ranks["owner"], weights=ranks["image"] < k, minlength=images)
        with np.errstate(invalid="ignore"):  # NaN where no image with a caption was drawn
            found[recall_name("image", k)] = (weights @ hits) / captions
        found[recall_name("text", k)] = weights @ (ranks["text"] < k) / images
    return found


def _classification(ranks: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
    labels, classes = ranks["label"], int(ranks["classes"])
    images = weights.shape[1]
    placed = np.atleast_2d(ranks["class"])
    right, among_five = (placed == 0).mean(axis=0), (placed < min(5, classes)).mean(axis=0)
    per_class = []
    for row in weights:  # a class of which no image was drawn does not count
        total = np.bincount(labels, weights=row, minlength=classes)
        hits = np.bincount(labels, weights=row * right, minlength=classes)
        per_class.append((hits[total > 0] / total[total > 0]).mean())
    values = (weights @ right / images, weights @ among_five / images, np.array(per_class))
    return dict(zip(CLASSIFICATION_METRICS, values))


def _regions(ranks: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
    pictures = weights.shape[1]

    def mean(of: np.ndarray) -> np.ndarray:
        total = np.bincount(ranks["picture"], minlength=pictures)
        return (weights @ np.bincount(ranks["picture"], weights=of, minlength=pictures)) / (weights @ total)

    return dict(zip(REGION_METRICS, map(mean, (ranks["region"] < 1, ranks["caption"] < 1, ranks["chance"]))))


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of the replicates that holds `level` of them."""
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def intervals(ranks: Mapping[str, np.ndarray], samples: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """The 95% interval of each metric; arguments as those of `replicates`."""
    return {name: interval(values) for name, values in replicates(ranks, samples, seed).items()}
