"""How far a measure would move with other images: bootstrap over the images of a set.

The images are drawn with replacement, each with all its captions; candidates stay as they are. The same seed draws the
same images for every model, so that replicates of two models may be subtracted.

Legend: N images, M texts, S bootstrap samples.
"""

import numpy as np

LEVEL = 0.95
CHUNK = 1 << 24  # drawn numbers held at a time


def replicates(ranks: dict[str, np.ndarray], samples: int, seed: int = 0, recall_k=(1, 5, 10)) -> dict[str, np.ndarray]:
    """{metric: (S,)} under the names of `retrieval_metrics` or `classification_metrics`.

    Args:
        ranks: what an evaluation fills in. Retrieval: `image` (M,) and `owner` (M,), rank of each text's image and
            which it is; `text` (N,), rank of each image's first right text. Classification: `class` (N,),
            `label` (N,), `classes` (), their number.
        samples: S, at least 1.

    Raises:
        ValueError: S < 1, or ranks of neither kind.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    if not ({"class", "label", "classes"} <= set(ranks) or {"image", "owner", "text"} <= set(ranks)):
        raise ValueError(f"ranks of neither retrieval nor classification: {sorted(ranks)}")
    images = len(ranks["class"] if "class" in ranks else ranks["text"])
    one = _classification if "class" in ranks else _retrieval
    parts = [one(ranks, weights, recall_k) for weights in _draws(images, samples, seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _draws(images: int, samples: int, seed: int):
    """Float (s, N) parts: how often each image was drawn in each of the S samples."""
    rng = np.random.default_rng(seed)
    chunk = max(1, CHUNK // images)
    for first in range(0, samples, chunk):
        drawn = rng.integers(images, size=(min(chunk, samples - first), images))
        yield np.stack([np.bincount(row, minlength=images) for row in drawn]).astype(np.float64)


def _retrieval(ranks, weights: np.ndarray, recall_k) -> dict[str, np.ndarray]:
    images = weights.shape[1]
    captions = weights @ np.bincount(ranks["owner"], minlength=images)
    found = {}
    for k in recall_k:
        hits = np.bincount(ranks["owner"], weights=ranks["image"] < k, minlength=images)
        with np.errstate(invalid="ignore"):  # no image with a caption drawn: NaN
            found[f"image_retrieval_recall@{k}"] = (weights @ hits) / captions
        found[f"text_retrieval_recall@{k}"] = weights @ (ranks["text"] < k) / images
    return found


def _classification(ranks, weights: np.ndarray, _recall_k) -> dict[str, np.ndarray]:
    right, labels, classes = ranks["class"] == 0, ranks["label"], int(ranks["classes"])
    images = weights.shape[1]
    found = {"acc1": weights @ right / images, "acc5": weights @ (ranks["class"] < min(5, classes)) / images}
    per_class = []
    for row in weights:  # a class of which no image was drawn does not count
        total = np.bincount(labels, weights=row, minlength=classes)
        hits = np.bincount(labels, weights=row * right, minlength=classes)
        per_class.append((hits[total > 0] / total[total > 0]).mean())
    found["mean_per_class_recall"] = np.array(per_class)
    return found


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of the replicates that holds `level` of them."""
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def intervals(ranks: dict[str, np.ndarray], samples: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """{metric: 95% interval}."""
    return {name: interval(values) for name, values in replicates(ranks, samples, seed).items()}
