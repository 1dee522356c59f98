"""Retrieval both ways on a set whose images may have several captions."""

from collections import Counter

import torch
from torch import Tensor

from sclip_plugin.evaluation.features import Encoder, evaluating, image_batches
from sclip_plugin.evaluation.metrics import RECALL_K, contrastive_loss, retrieval_metrics
from sclip_plugin.evaluation.sets import RETRIEVAL, EvaluationSet, open_set


def evaluate_retrieval(
    model,
    preprocess,
    tokenizer,
    folder,
    *,
    device="cpu",
    batch_size: int = 64,
    workers: int = 0,
    precision: str = "fp32",
    recall_k=RECALL_K,
    counts: Counter | None = None,
    ranks: dict | None = None,
    with_loss: bool = False,
) -> dict[str, float]:
    """`image_retrieval_recall@k` and `text_retrieval_recall@k` of a model; every caption counts.

    Args:
        model: an open_clip model on `device`; evaluated in eval mode and left as it was.
        preprocess: PIL image → (3, H, W), open_clip's validation transform.
        tokenizer: texts → tokens.
        folder: a retrieval set in CLIP_benchmark's layout.
        batch_size: images, and texts, in a forward pass.
        workers: processes that decode images (0: this one).
        precision: as open_clip's `--precision`.
        counts: filled with the number of images and captions, and of samples skipped by reason.
        ranks: filled with the numpy arrays that `bootstrap.replicates` takes.
        with_loss: give `clip_val_loss` too, as open_clip names it.

    Raises:
        DataError: a set that is incomplete, of the other kind, or without any usable sample.
    """
    found = open_set(folder, RETRIEVAL)
    counts = Counter() if counts is None else counts
    encoder = Encoder(model, tokenizer, device, precision)
    with evaluating(model):
        images, texts, owner = retrieval_features(encoder, found, preprocess, batch_size, workers, counts)
    metrics = retrieval_metrics(images, texts, owner, recall_k, ranks)
    if with_loss:
        metrics["clip_val_loss"] = contrastive_loss(images, texts, owner, encoder.scale(), batch_size)
    return metrics


def retrieval_features(
    encoder: Encoder, found: EvaluationSet, preprocess, batch_size: int, workers: int, counts: Counter
) -> tuple[Tensor, Tensor, Tensor]:
    """Features of a set's images (N, D) and of all its captions (M, D), and the image of each caption, int (M,)."""
    images, groups = [], []
    for features, answers in image_batches(encoder, found, preprocess, batch_size, workers, counts):
        images.append(features)
        groups += answers
    captions = [caption for group in groups for caption in group]
    texts = torch.cat([encoder.texts(captions[i : i + batch_size]) for i in range(0, len(captions), batch_size)])
    counts["captions"] += len(captions)
    owner = torch.tensor([image for image, group in enumerate(groups) for _ in group], device=texts.device)
    return torch.cat(images), texts, owner
