"""Zero-shot classification with a set's own classes and templates. Legend: N images, C classes, D embedding width."""

from collections import Counter

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sclip_plugin.evaluation.features import Encoder, evaluating, image_batches
from sclip_plugin.evaluation.metrics import class_ranks, classification_metrics
from sclip_plugin.evaluation.sets import CLASSIFICATION, open_set


def class_features(encoder: Encoder, classes, templates, batch_size: int = 64) -> Tensor:
    """(C, D): for each class the normalised mean of its normalised prompt features, one prompt per template."""
    prompts = [template.replace("{c}", name) for name in classes for template in templates]
    features = [encoder.texts(prompts[i : i + batch_size]) for i in range(0, len(prompts), batch_size)]
    return F.normalize(torch.cat(features).unflatten(0, (len(classes), len(templates))).mean(dim=1), dim=-1)


def evaluate_zeroshot(
    model,
    preprocess,
    tokenizer,
    folder,
    *,
    device="cpu",
    batch_size: int = 64,
    workers: int = 0,
    precision: str = "fp32",
    counts: Counter | None = None,
    ranks: dict | None = None,
) -> dict[str, float]:
    """`acc1`, `acc5` and `mean_per_class_recall` of a model on a classification set.

    Args: as `evaluate_retrieval`; `folder` is a classification set. Any number of classes.

    Raises:
        DataError: a set that is incomplete, of the other kind, or without any usable sample; a class number outside
            `classnames.txt`.
    """
    found = open_set(folder, CLASSIFICATION)
    counts = Counter() if counts is None else counts
    encoder = Encoder(model, tokenizer, device, precision)
    placed, labels = [], []
    with evaluating(model):
        classifier = class_features(encoder, found.classes, found.templates, batch_size)
        for features, answers in image_batches(encoder, found, preprocess, batch_size, workers, counts):
            labels.append(torch.tensor(answers, device=features.device))
            placed.append(class_ranks(features @ classifier.T, labels[-1]))
    classes, right = torch.cat(labels), torch.cat(placed)
    if ranks is not None:
        ranks.update({"class": right.cpu().numpy(), "label": classes.cpu().numpy()})
        ranks["classes"] = np.array(len(found.classes))
    return classification_metrics(right, classes, len(found.classes))
