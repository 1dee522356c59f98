"""Frozen image features with their classes, and which of them a classifier learns from and is asked about.

A set in CLIP_benchmark's layout may have `train/` and `val/` beside `test/`. Without `train/` the test images are
divided into `FOLDS` parts, and each part is classified by what is learnt from the others (cross-validation, ours).

Legend: N images, C classes, D embedding width, S trials.
"""

import logging
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.features import Encoder, image_batches
from sclip_plugin.evaluation.models import Preprocess
from sclip_plugin.evaluation.names import CLASSIFICATION
from sclip_plugin.evaluation.sets import Samples, class_of, open_set
from sclip_plugin.storage.location import location

TRAIN, VAL, TEST = "train", "val", "test"  # CLIP_benchmark's default names of splits
FOLDS = 5  # ours
DRAWS = 5  # of the few images of each class, where there is a train split; CLIP_benchmark draws once
SEED = 0  # CLIP_benchmark's default; the same images are drawn for every model


@dataclass(frozen=True)
class Labelled:
    """Image features with classes.

    Attributes:
        features: (N, D), L2-normalised, float32.
        labels: int64 (N,), the number of each image's class.
    """

    features: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, index: Tensor) -> "Labelled":
        """The images of these places, int (n,)."""
        return Labelled(self.features[index], self.labels[index])

    def with_(self, other: "Labelled") -> "Labelled":
        """These images, then the other's."""
        return Labelled(torch.cat([self.features, other.features]), torch.cat([self.labels, other.labels]))


@dataclass(frozen=True)
class Splits:
    """The features of a classification set.

    Attributes:
        test: what is classified.
        train: what is learnt from; None where the set has no such split.
        val: what a weight decay is chosen on; None where the set has no such split, or none to train on.
        classes: C.
        counts: images of each split, and samples skipped by reason.
    """

    test: Labelled
    train: Labelled | None
    val: Labelled | None
    classes: int
    counts: Counter[str]


@dataclass(frozen=True)
class Trial:
    """One classifier: what it learns from, and the places of the test images that it is asked about.

    Attributes:
        learnt: the images that it learns from.
        asked: int64 (n,), places among the test images.
    """

    learnt: Labelled
    asked: Tensor


def check_splits(folder: str) -> None:
    """Look at the files of a set and of all its splits.

    Raises:
        DataError: a split is incomplete or numbers other classes, or it is a retrieval set.
    """
    root = location(folder)
    for split in (TEST, *(one for one in (TRAIN, VAL) if (root / one).is_dir())):
        own = open_set(root, CLASSIFICATION, split)
        home = (root / split).resolve().parent  # where a link leads to
        if home != root.resolve() and open_set(home, CLASSIFICATION, split="test").classes != own.classes:
            raise DataError(f"{root / split}: a link into {home}, which has other classes")


def read_splits(
    encoder: Encoder, preprocess: Preprocess, folder: str, batch_size: int = 64, workers: int = 0
) -> Splits:
    """Encode the images of a classification set, those of `train/` and `val/` too where it has these.

    Args:
        encoder: gives the features; its model is in eval mode.
        preprocess: PIL image → (3, H, W), open_clip's validation transform.
        folder: a classification set in CLIP_benchmark's layout.
        batch_size: images in a forward pass.
        workers: processes that decode images (0: this one).

    Raises:
        DataError: the set is incomplete, of the other kind, or a split has no usable sample.
    """
    counts: Counter[str] = Counter()

    def read(split: str) -> Labelled:
        own: Counter[str] = Counter()
        samples = Samples(open_set(folder, CLASSIFICATION, split), preprocess, class_of)
        batches = list(image_batches(encoder, samples, batch_size, workers, own))
        counts.update({name if split == TEST else f"{split} {name}": number for name, number in own.items()})
        features = torch.cat([part for part, _ in batches])
        labels = torch.tensor([label for _, answers in batches for label in answers], device=features.device)
        return Labelled(features, labels)

    classes = len(open_set(folder, CLASSIFICATION).classes)
    there = [split for split in (TRAIN, VAL) if (location(folder) / split).is_dir()]
    train = read(TRAIN) if TRAIN in there else None
    return Splits(read(TEST), train, read(VAL) if train and VAL in there else None, classes, counts)


def trials(splits: Splits, shots: int | None, counts: Counter[str]) -> list[Trial]:
    """The classifiers that a set asks for.

    With a train split: one that learns from all of it, or `DRAWS` that learn from a few images of each class. Without:
    one for each fold, which is asked about the fold and learns from the other folds, or from a few images of these.

    Args:
        splits: the set.
        shots: images of each class to learn from; None for all.
        counts: `classes with fewer than SHOTS images` is set to the most that any trial has, where there are such.

    Raises:
        ValueError: there is but one image, which leaves nothing to learn from.
    """
    everything = torch.arange(len(splits.test), device=splits.test.labels.device)
    if splits.train is not None:
        pools = [splits.train] * (1 if shots is None else DRAWS)
        asked = [everything] * len(pools)
    else:
        if len(splits.test) < 2:
            raise ValueError("cross-validation needs at least 2 images")
        fold = shuffled_places(splits.test.labels, SEED) % FOLDS
        asked = [part for number in range(FOLDS) if len(part := everything[fold == number])]
        pools = [splits.test.part(everything[fold != number]) for number in range(FOLDS) if (fold == number).any()]
    if shots is None:
        return [Trial(pool, part) for pool, part in zip(pools, asked)]
    few = [few_of_each(pool, shots, SEED + number) for number, pool in enumerate(pools)]
    scarce = max(int((torch.bincount(pool.labels)[pool.labels.unique()] < shots).sum()) for pool in few)
    if scarce:
        logging.warning("%d classes have fewer than %d images to learn from, and give all", scarce, shots)
        counts[f"classes with fewer than {shots} images"] = scarce
    return [Trial(pool, part) for pool, part in zip(few, asked)]


def few_of_each(pool: Labelled, shots: int, seed: int) -> Labelled:
    """So many images of each class, drawn at random; a class with fewer gives all that it has."""
    return pool.part((shuffled_places(pool.labels, seed) < shots).nonzero().squeeze(1))


def shuffled_places(labels: Tensor, seed: int) -> Tensor:
    """int64 (N,): the place of each image among the images of its class, in a random order; the first is 0."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).to(labels.device)
    by_class = order[torch.argsort(labels[order], stable=True)]
    ordered = labels[by_class].contiguous()
    places = torch.empty_like(order)
    places[by_class] = torch.arange(len(labels), device=labels.device) - torch.searchsorted(ordered, ordered)
    return places
