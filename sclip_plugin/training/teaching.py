"""The start model's part in a run: its labels before training, and all captions from epoch to epoch (ours).

Legend: N pairs in the set, D width, W ranks.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch import distributed as dist

from sclip_plugin.data.config import MixedConfig
from sclip_plugin.data.order import generator
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.features import Encoder, evaluating
from sclip_plugin.evaluation.models import Preprocess
from sclip_plugin.keywords import Vocabulary
from sclip_plugin.teacher.features import Rank
from sclip_plugin.teacher.labels import Pairs, StartLabels, label_sets
from sclip_plugin.teacher.settings import TeacherSettings
from sclip_plugin.teacher.storage import load_labels, save_labels
from sclip_plugin.teacher.vocabulary import doubts
from sclip_plugin.training.arguments import Place

T = TypeVar("T")

FORWARD = 64  # captions in a forward pass


def start_labels(
    settings: TeacherSettings,
    config: MixedConfig,
    place: Place,
    encoder: Encoder,
    preprocess: Preprocess,
    workers: int,
    vocabulary: Vocabulary | None,
    *,
    written: Path | None,
    resumed: Path | None,
) -> StartLabels:
    """The labels of all unpaired images: made by the start model, or read where a run goes on.

    Every rank must call it, and every rank gets the same labels. The first rank tells of them in the log.

    Args:
        settings: how they are made.
        config: the data.
        place: where this process stands.
        encoder: the start model.
        preprocess: the validation transform.
        workers: threads that decode images.
        vocabulary: the keywords, which the first rank warns of where the pairs speak against them; None: none.
        written: where the first rank writes them; None: nowhere.
        resumed: where the first rank reads them; None: they are made.

    Raises:
        DataError: too few usable pairs, or a file that cannot be read or written.
    """
    assert config.unpaired is not None, "options.check has looked"
    about: dict[str, object] = {**asdict(settings), "pairs": config.paired.total, "images": config.unpaired.total}
    if resumed is not None:
        return _from_first_rank(lambda: load_labels(resumed, about), place)
    skipped: Counter[str] = Counter()
    labels = label_sets(
        config.paired,
        config.unpaired,
        encoder,
        preprocess,
        settings,
        skipped,
        workers=max(1, workers),
        rank=Rank(place.rank, place.world_size),
        look=lambda pairs: _judge(vocabulary, pairs, encoder) if vocabulary and place.rank == 0 else None,
    )
    if written is not None and place.rank == 0:
        save_labels(labels, about, written)
    if place.rank == 0:
        logging.info(f"sclip_plugin: {told(labels, settings)}")
        if skipped:
            listed = ", ".join(f"{reason} × {number}" for reason, number in sorted(skipped.items()))
            logging.warning(f"sclip_plugin: not seen by the start model: {listed}")
    return labels


def _judge(vocabulary: Vocabulary, pairs: Pairs, encoder: Encoder) -> None:
    """Warn of keywords that the pairs speak against."""
    line = doubts(vocabulary, [pairs.captions[row] for row in pairs.rows], pairs.features, encoder)
    if line is not None:
        logging.warning(
            f"sclip_plugin: {line}: let `sclip keywords --prune` drop them, and compare with a run without --keywords"
        )


def told(labels: StartLabels, settings: TeacherSettings) -> str:
    """One line that says what the labels are like."""
    trusts = labels.trusts()
    line = labels.calibration
    shown = (
        f"{len(trusts)} unpaired images labelled by the start model, trust {settings.trust}: mean {trusts.mean():.2f}"
    )
    if settings.trust == "threshold":
        return f"{shown}, {(trusts > 0).sum()} of them labelled at all"
    if line is None:
        return shown
    corners = [
        f"{cosine:.2f} → {probability:.2f}" for cosine, probability in zip(line.similarities, line.probabilities)
    ]
    middle = f"{corners[len(corners) // 2]} … " if len(corners) > 2 else ""
    return f"{shown}; cosine → probability that a caption fits: {corners[0]} … {middle}{corners[-1]}"


def _from_first_rank(make: Callable[[], T], place: Place) -> T:
    """What the first rank makes, on every rank; its DataError too."""
    found: list[T | str | None] = [None]
    fault = False
    if place.rank == 0:
        try:
            found[0] = make()
        except DataError as error:
            found[0], fault = str(error), True
    both: list[object] = [found[0], fault]
    if place.world_size > 1:
        dist.broadcast_object_list(both, src=0)
    if both[1]:
        raise DataError(str(both[0]))
    return both[0]  # type: ignore[return-value]


def caption_features(labels: StartLabels, encoder: Encoder, seed: int, epoch: int, place: Place) -> Tensor:
    """Features (N, D) of a caption of each pair, as the model is now; the same on every rank, which share the work.

    One caption of each pair is drawn, another one in another epoch. A pair that cannot be used has the first one's.

    Args:
        labels: of the run.
        encoder: the model; it is put into eval mode meanwhile.
        seed: of the draws.
        epoch: number of the epoch that begins.
        place: where this process stands.
    """
    draw = generator("captions of all pairs", seed, epoch)
    texts = [draw.choice(options) if options else "" for options in labels.captions]
    some = next(text for text in texts if text)
    texts = [text or some for text in texts]
    share = -(-len(texts) // place.world_size)
    padded = texts + texts[:1] * (share * place.world_size - len(texts))
    mine = padded[place.rank * share : (place.rank + 1) * share]
    with evaluating(encoder.model), torch.no_grad():
        features = encoder.texts_in_batches(mine, FORWARD).clone()  # inference tensors take no part in autograd
    if place.world_size > 1:
        everybody = [torch.empty_like(features) for _ in range(place.world_size)]
        dist.all_gather(everybody, features.contiguous())
        features = torch.cat(everybody)
    return F.normalize(features[: len(texts)], dim=-1)
