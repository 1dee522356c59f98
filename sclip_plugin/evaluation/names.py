"""The words of evaluation, each with one owner: kinds of set, metrics, recall ranks, precisions, and `NAME=DIR`.

Metric names are CLIP_benchmark's. This module imports nothing heavy, so that command lines may use it.
"""

import os
import statistics
from collections.abc import Mapping
from typing import Final

from sclip_plugin.errors import UsageError
from sclip_plugin.storage.urls import is_url

#: the two kinds of evaluation set that CLIP_benchmark's layout knows
RETRIEVAL: Final = "retrieval"
CLASSIFICATION: Final = "classification"
#: what else a set may be asked; the first two read a classification set, and use no text
KNN: Final = "knn"
LINEAR_PROBE: Final = "linear-probe"
REGIONS: Final = "regions"

#: what the task of each kind is called, by CLIP_benchmark where it has the task (kNN and regions are ours)
TASKS: Final = {
    CLASSIFICATION: "zeroshot_classification",
    RETRIEVAL: "zeroshot_retrieval",
    KNN: "knn",
    LINEAR_PROBE: "linear_probe",
    REGIONS: "region_retrieval",
}
#: what `dataset_type.txt` of a set of each kind says, as CLIP_benchmark reads it
DATASET_TYPES: Final = {CLASSIFICATION: "zeroshot_classification", RETRIEVAL: "retrieval"}

#: the one figure that classification is compared by
ACCURACY: Final = "acc1"
#: the metrics of classification, in the order in which they are shown
CLASSIFICATION_METRICS: Final = (ACCURACY, "acc5", "mean_per_class_recall")
#: what the names of these metrics begin with where frozen image features are classified; `lp_` is CLIP_benchmark's
PREFIXES: Final = {KNN: "knn_", LINEAR_PROBE: "lp_"}
VALIDATION_LOSS: Final = "clip_val_loss"  # open_clip's name

#: what is retrieved: images by text, texts by image
DIRECTIONS: Final = ("image", "text")
RECALL_RANKS: Final = (1, 5, 10)  # the k of recall@k; the paper's and CLIP_benchmark's
#: the mean of the six recalls, the one figure that retrieval is compared by (ours)
MEAN_RECALL: Final = "mean_recall"

#: of retrieval within one picture: the crop of a caption, the caption of a crop, and what guessing a crop would give
REGION_METRICS: Final = ("region_retrieval_recall@1", "caption_retrieval_recall@1", "region_chance")
#: the mean of the two recalls, the one figure that regions are compared by (ours)
REGION_RECALL: Final = "mean_region_recall"

#: what tables and pictures call the one figure of each kind of CLIP_benchmark's
SCORE_TITLES: Final = {
    CLASSIFICATION: "accuracy",
    RETRIEVAL: f"mean R@{','.join(str(rank) for rank in RECALL_RANKS)}",
}

#: the same of the other kinds
TRANSFER_TITLES: Final = {KNN: "nearest neighbours", LINEAR_PROBE: "linear probe", REGIONS: "regions R@1"}

#: what open_clip's `--precision` takes
PRECISIONS: Final = ("fp32", "amp", "amp_bf16", "amp_bfloat16", "bf16", "fp16", "pure_bf16", "pure_fp16")


def recall_name(direction: str, rank: int) -> str:
    """The metric's name, for instance `image_retrieval_recall@5`."""
    return f"{direction}_retrieval_recall@{rank}"


RECALLS: Final = tuple(recall_name(direction, rank) for direction in DIRECTIONS for rank in RECALL_RANKS)


def short_name(metric: str) -> str:
    """A metric's name for a table whose rows must fit a terminal: `image R@5`."""
    return metric.replace("_retrieval_recall@", " R@").replace("_", " ")


def mean_recall(metrics: Mapping[str, float]) -> float:
    """The mean of the six recalls of a retrieval set."""
    return statistics.fmean(metrics[name] for name in RECALLS)


def score(metrics: Mapping[str, float]) -> float:
    """The one figure by which a set is compared: accuracy, or the mean recall."""
    return metrics[ACCURACY] if ACCURACY in metrics else mean_recall(metrics)


def named_folder(text: str, flag: str) -> tuple[str, str]:
    """(name, folder) of `NAME=DIR`; a folder alone is called by its own name.

    Raises:
        UsageError: the text is not of that form. The message names the flag.
    """
    name, equals, folder = text.partition("=")
    if not equals or is_url(text):
        name, folder = os.path.basename(os.path.abspath(text)) if text.strip() else "", text
    if not (name and folder):
        raise UsageError(f"{flag} must be NAME=DIR or DIR, got {text!r}")
    return name, folder
