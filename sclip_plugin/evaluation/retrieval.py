"""Retrieval both ways on a set whose images may have several captions. Legend: N images, M texts, D embedding width."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sclip_plugin.evaluation.features import Encoder, evaluating, image_batches
from sclip_plugin.evaluation.metrics import contrastive_loss, retrieval_metrics
from sclip_plugin.evaluation.models import Preprocess, Tokenizer
from sclip_plugin.evaluation.names import RECALL_RANKS, RETRIEVAL, VALIDATION_LOSS
from sclip_plugin.evaluation.sets import Samples, captions_of, open_set
from sclip_plugin.storage.location import Location


def evaluate_retrieval(
    model: nn.Module,
    preprocess: Preprocess,
    tokenizer: Tokenizer,
    folder: str | Location,
    *,
    device: str | torch.device = "cpu",
    batch_size: int = 64,
    workers: int = 0,
    precision: str = "fp32",
    recall_ranks: Sequence[int] = RECALL_RANKS,
    counts: Counter[str] | None = None,
    ranks: dict[str, np.ndarray] | None = None,
    with_loss: bool = False,
) -> dict[str, float]:
    """`image_retrieval_recall@k` and `text_retrieval_recall@k` of a model; every caption counts.

    Args:
        model: an open_clip model on `device`; evaluated in eval mode and left as it was.
        preprocess: PIL image → (3, H, W), open_clip's validation transform.
        tokenizer: texts → tokens.
        folder: a retrieval set in CLIP_benchmark's layout.
        device: where the model is.
        batch_size: images, and texts, in a forward pass.
        workers: processes that decode images (0: this one).
        precision: one of `names.PRECISIONS`, as open_clip's `--precision`.
        recall_ranks: each k.
        counts: filled with the number of images and captions, and of samples skipped by reason.
        ranks: filled with the numpy arrays that `bootstrap.replicates` takes.
        with_loss: give `clip_val_loss` too, as open_clip names it.

    Raises:
        DataError: the set is incomplete, of the other kind, or without any usable sample.
    """
    counts = Counter() if counts is None else counts
    encoder = Encoder(model, tokenizer, device, precision)
    samples = Samples(open_set(folder, RETRIEVAL), preprocess, captions_of)
    with evaluating(model):
        images, texts, owner = _features(encoder, samples, batch_size, workers, counts)
    metrics = retrieval_metrics(images, texts, owner, recall_ranks, ranks)
    if with_loss:
        metrics[VALIDATION_LOSS] = contrastive_loss(images, texts, owner, encoder.scale().item(), batch_size)
    return metrics


def _features(
    encoder: Encoder, samples: Samples[tuple[str, ...]], batch_size: int, workers: int, counts: Counter[str]
) -> tuple[Tensor, Tensor, Tensor]:
    """Features of a set's images (N, D) and of all its captions (M, D), and the image of each caption, int (M,)."""
    images: list[Tensor] = []
    groups: list[tuple[str, ...]] = []
    for features, answers in image_batches(encoder, samples, batch_size, workers, counts):
        images.append(features)
        groups += answers
    captions = [caption for group in groups for caption in group]
    texts = encoder.texts_in_batches(captions, batch_size)
    counts["captions"] += len(captions)
    owner = torch.tensor([image for image, group in enumerate(groups) for _ in group], device=texts.device)
    return torch.cat(images), texts, owner
