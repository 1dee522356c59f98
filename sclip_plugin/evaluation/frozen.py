"""Classification by frozen image features: did the images get better, or only the match to some words?

Nearest neighbours and a linear probe see no text. Legend: N images, C classes, S trials.
"""

from collections import Counter

import numpy as np
import torch
from torch import Tensor

from sclip_plugin.errors import DataError
from sclip_plugin.evaluation import knn, linear_probe
from sclip_plugin.evaluation.labelled import DRAWS, FOLDS, SEED, Splits, Trial, trials
from sclip_plugin.evaluation.metrics import class_ranks, classification_metrics
from sclip_plugin.evaluation.names import KNN

Settings = dict[str, float | int | bool | str]  # how a figure came about, for a JSON report


def evaluate_frozen(
    splits: Splits,
    kind: str,
    shots: int | None = None,
    *,
    counts: Counter[str] | None = None,
    ranks: dict[str, np.ndarray] | None = None,
    settings: Settings | None = None,
) -> dict[str, float]:
    """`acc1`, `acc5` and `mean_per_class_recall` of a classifier of frozen features, as means over trials.

    Args:
        splits: the set's features.
        kind: `names.KNN` or `names.LINEAR_PROBE`.
        shots: images of each class to learn from; None for all.
        counts: filled with the number of images, those learnt from, and samples skipped by reason.
        ranks: filled with the numpy arrays that `bootstrap.replicates` takes: `class` is (N,), or (S, N) where all
            images are classified in several trials.
        settings: filled with how the figures came about; for the probe under the names of CLIP_benchmark.

    Raises:
        DataError: the set has one image and no train split.
    """
    counts = Counter() if counts is None else counts
    counts.update(splits.counts)
    try:
        tried = trials(splits, shots, counts)
    except ValueError as error:
        raise DataError(f"evaluation set without a train split: {error}") from None
    counts["learnt from"] = max(len(trial.learnt) for trial in tried)
    decays: list[float] = []
    found = [_ranks(splits, kind, shots, trial, decays) for trial in tried]
    placed = _by_image(splits, tried, found)
    labels = splits.test.labels
    if ranks is not None:
        ranks.update({"class": placed.squeeze(0).cpu().numpy(), "label": labels.cpu().numpy()})
        ranks["classes"] = np.array(splits.classes)
    if settings is not None:
        settings.update(_settings(splits, kind, shots, decays))
    each = [classification_metrics(row, labels, splits.classes) for row in placed]
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


def _ranks(splits: Splits, kind: str, shots: int | None, trial: Trial, decays: list[float]) -> Tensor:
    """int64 (n,): the rank of the right class of each image that the trial asks about; adds a probe's decay."""
    asked = splits.test.part(trial.asked)
    if kind == KNN:
        scores = knn.vote(trial.learnt, asked.features, splits.classes)
    else:
        probe, decay = linear_probe.train(trial.learnt, splits.val, splits.classes, few=shots is not None)
        decays.append(decay)
        scores = linear_probe.scores(probe, asked.features)
    return class_ranks(scores, asked.labels)


def _by_image(splits: Splits, tried: list[Trial], found: list[Tensor]) -> Tensor:
    """int64 (S, N), a row for each trial that asks about all images; the folds' answers make one row."""
    if splits.train is not None:
        return torch.stack(found)
    row = torch.empty_like(splits.test.labels)
    for trial, part in zip(tried, found):
        row[trial.asked] = part
    return row[None]


def _settings(splits: Splits, kind: str, shots: int | None, decays: list[float]) -> Settings:
    learnt = "train" if splits.train is not None else f"test, {FOLDS} folds"
    own: Settings = {"fewshot_k": -1 if shots is None else shots, "seed": SEED, "learnt_from": learnt}
    if shots is not None and splits.train is not None:
        own["draws"] = DRAWS
    if kind == KNN:
        return {**own, "neighbours": knn.NEIGHBOURS, "temperature": knn.TEMPERATURE}
    fitted: Settings = {"epochs": linear_probe.EPOCHS, "lr": linear_probe.LEARNING_RATE, "normalized": True}
    return {**own, **fitted, "weight_decay": float(np.median(decays))}
