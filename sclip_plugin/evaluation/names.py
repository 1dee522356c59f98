"""The words of evaluation, each with one owner: kinds of set, metrics, recall ranks, precisions, and `NAME=DIR`.

Metric names are CLIP_benchmark's. This module imports nothing heavy, so that command lines may use it.
"""

import statistics
from collections.abc import Mapping
from typing import Final

from sclip_plugin.errors import UsageError

#: the two kinds of evaluation set
RETRIEVAL: Final = "retrieval"
CLASSIFICATION: Final = "classification"

#: what CLIP_benchmark calls the task of each kind
TASKS: Final = {CLASSIFICATION: "zeroshot_classification", RETRIEVAL: "zeroshot_retrieval"}
#: what `dataset_type.txt` of a set of each kind says, as CLIP_benchmark reads it
DATASET_TYPES: Final = {CLASSIFICATION: "zeroshot_classification", RETRIEVAL: "retrieval"}

#: the one figure that classification is compared by
ACCURACY: Final = "acc1"
#: the metrics of classification, in the order in which they are shown
CLASSIFICATION_METRICS: Final = (ACCURACY, "acc5", "mean_per_class_recall")
VALIDATION_LOSS: Final = "clip_val_loss"  # open_clip's name

#: what is retrieved: images by text, texts by image
DIRECTIONS: Final = ("image", "text")
RECALL_RANKS: Final = (1, 5, 10)  # the k of recall@k; the paper's and CLIP_benchmark's
#: the mean of the six recalls, the one figure that retrieval is compared by (ours)
MEAN_RECALL: Final = "mean_recall"

#: what tables and pictures call the one figure of each kind
SCORE_TITLES: Final = {
    CLASSIFICATION: "accuracy",
    RETRIEVAL: f"mean R@{','.join(str(rank) for rank in RECALL_RANKS)}",
}

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
    """(name, folder) of `NAME=DIR`.

    Raises:
        UsageError: the text is not of that form. The message names the flag.
    """
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise UsageError(f"{flag} must be NAME=DIR, got {text!r}")
    return name, folder
