"""Zero-shot classification with a set's own classes and templates. Legend: N images, C classes, D embedding width."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sclip_plugin.evaluation.features import Encoder, evaluating, image_batches
from sclip_plugin.evaluation.metrics import class_ranks, classification_metrics
from sclip_plugin.evaluation.models import Preprocess, Tokenizer
from sclip_plugin.evaluation.names import CLASSIFICATION
from sclip_plugin.evaluation.sets import Samples, class_of, open_set
from sclip_plugin.storage.location import Location


def class_features(encoder: Encoder, classes: Sequence[str], templates: Sequence[str], batch_size: int = 64) -> Tensor:
    """(C, D): for each class the normalised mean of its normalised prompt features, one prompt per template."""
    prompts = [template.replace("{c}", name) for name in classes for template in templates]
    features = encoder.texts_in_batches(prompts, batch_size)
    return F.normalize(features.unflatten(0, (len(classes), len(templates))).mean(dim=1), dim=-1)


def evaluate_zeroshot(
    model: nn.Module,
    preprocess: Preprocess,
    tokenizer: Tokenizer,
    folder: str | Location,
    *,
    device: str | torch.device = "cpu",
    batch_size: int = 64,
    workers: int = 0,
    precision: str = "fp32",
    counts: Counter[str] | None = None,
    ranks: dict[str, np.ndarray] | None = None,
) -> dict[str, float]:
    """`acc1`, `acc5` and `mean_per_class_recall` of a model on a classification set with any number of classes.

    Args:
        model: an open_clip model on `device`; evaluated in eval mode and left as it was.
        preprocess: PIL image → (3, H, W), open_clip's validation transform.
        tokenizer: texts → tokens.
        folder: a classification set in CLIP_benchmark's layout.
        device: where the model is.
        batch_size: images, and texts, in a forward pass.
        workers: processes that decode images (0: this one).
        precision: one of `names.PRECISIONS`, as open_clip's `--precision`.
        counts: filled with the number of images, and of samples skipped by reason.
        ranks: filled with the numpy arrays that `bootstrap.replicates` takes.

    Raises:
        DataError: the set is incomplete, of the other kind, or without any usable sample, or the number of a class is
            outside `classnames.txt`.
    """
    found = open_set(folder, CLASSIFICATION)
    counts = Counter() if counts is None else counts
    encoder = Encoder(model, tokenizer, device, precision)
    placed, labels = [], []
    with evaluating(model):
        classifier = class_features(encoder, found.classes, found.templates, batch_size)
        for features, answers in image_batches(
            encoder, Samples(found, preprocess, class_of), batch_size, workers, counts
        ):
            labels.append(torch.tensor(answers, device=features.device))
            placed.append(class_ranks(features @ classifier.T, labels[-1]))
    classes, right = torch.cat(labels), torch.cat(placed)
    if ranks is not None:
        ranks.update({"class": right.cpu().numpy(), "label": classes.cpu().numpy()})
        ranks["classes"] = np.array(len(found.classes))
    return classification_metrics(right, classes, len(found.classes))
