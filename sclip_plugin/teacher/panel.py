"""The start model's labels to look at: some unpaired images with the captions and keywords that they learn (ours).

Legend: N pairs, M unpaired images, k neighbours, K keywords.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor

from sclip_plugin.data.samples import read_samples
from sclip_plugin.data.shard_list import ShardSet
from sclip_plugin.diagnostics.measures import trust_measures
from sclip_plugin.errors import DataError
from sclip_plugin.inspection.labels import SHOWN, LabelledImage
from sclip_plugin.inspection.pictures import Picture, usable_picture
from sclip_plugin.keywords import Vocabulary
from sclip_plugin.loss.partial_labels import own_keywords
from sclip_plugin.teacher.labels import StartLabels

LOOKED_AT: Final = 4  # samples of a shard that are tried for each image that is shown


def labelled_images(
    labels: StartLabels,
    paired: ShardSet,
    unpaired: ShardSet,
    shown: int,
    vocabulary: Vocabulary | None = None,
    candidates: str = "plan",
) -> tuple[list[LabelledImage], dict[str, float]]:
    """Some unpaired images, from shards that are evenly spaced, with what the start model makes of them.

    With candidates `nearest` training weighs the keywords of the nearest caption by the model as it learns; here they
    have equal weights.

    Args:
        labels: of the M unpaired images.
        paired: the set of N pairs.
        unpaired: the set of unpaired images.
        shown: the most images that are returned, at least 1.
        vocabulary: the keywords; None: no keyword level.
        candidates: one of `loss.settings.CANDIDATES`, where the keywords come from.

    Returns:
        The labelled images, and figures over all M images, of `diagnostics.measures.trust_measures` and
        `without_candidates`.

    Raises:
        DataError: no unpaired image can be shown.
        ValueError: the sizes of the shards are not known.
    """
    images = _some_images(unpaired, labels, shown)
    rows = {row: [pair for pair, _ in _heaviest(labels, row)] for row in images}
    pairs = _pictures(paired, {pair for found in rows.values() for pair in found}, labels.captions)
    held = None if vocabulary is None else vocabulary.held_by(labels.captions)
    weights = None if held is None else keyword_weights(labels, list(images), held, candidates)
    found = []
    for number, (row, picture) in enumerate(images.items()):
        keywords = None if weights is None else weights[number]
        found.append(_labelled(labels, row, picture, pairs, keywords, vocabulary))
    return found, _figures(labels, held, candidates)


def keyword_weights(labels: StartLabels, rows: list[int], held: Tensor, candidates: str) -> np.ndarray:
    """float32 (n, K): how much n unpaired images learn each keyword; a row sums to the trust in it at most.

    Args:
        labels: of the M unpaired images.
        rows: n of them.
        held: bool (N, K), the keywords of each pair's captions.
        candidates: `plan` or `nearest`.
    """
    own = own_keywords(held, torch.float32).numpy()
    nearest, weights = labels.nearest[rows], labels.weights[rows]
    if candidates == "nearest":
        first = nearest[np.arange(len(rows)), weights.argmax(axis=1)]
        return np.asarray(weights.sum(axis=1)[:, None] * own[first])
    return np.einsum("nk,nkw->nw", weights, own[nearest])


def _figures(labels: StartLabels, held: Tensor | None, candidates: str) -> dict[str, float]:
    """What is said of all M images."""
    shares = torch.from_numpy(labels.weights)
    figures = {name: value.item() for name, value in trust_measures(shares, shares.sum(dim=1)).items()}
    used = np.bincount(labels.nearest.ravel(), weights=labels.weights.ravel(), minlength=len(labels.captions))
    share = used[used > 0] / max(used.sum(), np.finfo(float).tiny)
    figures["captions_used"] = float(np.exp(-(share * np.log(share)).sum())) / len(labels.captions)
    trusted = labels.trusts() > 0
    if held is not None and trusted.any():
        some = held.any(dim=1).numpy()[labels.nearest] & (labels.weights > 0)
        heaviest = some[np.arange(len(some)), labels.weights.argmax(axis=1)]
        has = heaviest if candidates == "nearest" else some.any(axis=1)
        figures["without_candidates"] = float((~has[trusted]).mean())
    return figures


def _some_images(unpaired: ShardSet, labels: StartLabels, shown: int) -> dict[int, Picture]:
    """{row: picture} of the first usable images of shards that are evenly spaced, in the order of their rows."""
    if unpaired.sizes is None:
        raise ValueError(f"the sizes of the shards are not known: {unpaired.unknown}")
    starts = np.cumsum(unpaired.sizes) - unpaired.sizes
    some = np.unique(np.linspace(0, len(starts) - 1, min(shown, len(starts))).round().astype(int)).tolist()
    faults: Counter[str] = Counter()
    found: dict[int, Picture] = {}
    for place, shard in enumerate(some):
        share = (shown - len(found)) // (len(some) - place)
        stop = min(int(unpaired.sizes[shard]), share * LOOKED_AT)
        usable = 0
        for position, members in read_samples(unpaired.shards.urls[shard], 0, stop, faults):
            picture = usable_picture(members, False, faults)
            if picture is not None:
                found[int(starts[shard]) + position] = picture
                usable += 1
            if usable == share:
                break
    if not found:
        listed = ", ".join(f"{number} × {reason}" for reason, number in faults.items()) or "no samples"
        raise DataError(f"{unpaired.shards.flag}: no usable image among the first of {len(some)} shards: {listed}")
    return found


def _pictures(paired: ShardSet, rows: Iterable[int], captions: list[tuple[str, ...]]) -> dict[int, Picture]:
    """{row: picture} of the pairs at some rows of their set, with their captions."""
    assert paired.sizes is not None, "labels need them"
    starts = np.cumsum(paired.sizes) - paired.sizes
    wanted = np.array(sorted(rows), dtype=np.int64)
    found: dict[int, Picture] = {}
    for url, start, size in zip(paired.shards.urls, starts.tolist(), paired.sizes.tolist()):
        here = {int(row) - start for row in wanted if start <= row < start + size}
        if not here:
            continue
        for position, members in read_samples(url, min(here), max(here) + 1, Counter()):
            picture = usable_picture(members, True, Counter()) if position in here else None
            if picture is not None:
                found[start + position] = picture
    return found


def _heaviest(labels: StartLabels, row: int) -> list[tuple[int, float]]:
    """(row of a pair, weight) of those that an image draws from most, the heaviest first."""
    order = np.argsort(-labels.weights[row], kind="stable")[:SHOWN]
    return [
        (int(labels.nearest[row, one]), float(labels.weights[row, one])) for one in order if labels.weights[row, one]
    ]


def _labelled(
    labels: StartLabels,
    row: int,
    picture: Picture,
    pairs: Mapping[int, Picture],
    weights: np.ndarray | None,
    vocabulary: Vocabulary | None,
) -> LabelledImage:
    """An image with what it learns; `weights` (K,) are those of its keywords."""
    near = [(pair, weight) for pair, weight in _heaviest(labels, row) if pair in pairs]
    shares = labels.weights[row][labels.weights[row] > 0]
    shares = shares / shares.sum()
    keywords = None
    if weights is not None and vocabulary is not None:
        order = np.argsort(-weights, kind="stable")[:SHOWN]
        keywords = [(vocabulary.keywords[one], float(weights[one])) for one in order if weights[one]]
    return LabelledImage(
        picture=picture,
        captions=[(labels.captions[pair][0], weight) for pair, weight in near],
        sources=[pairs[pair] for pair, _ in near],
        keywords=keywords,
        effective_captions=float(np.exp(-(shares * np.log(shares)).sum())),
    )
