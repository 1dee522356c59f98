"""The plugin's own evaluation sets in a training run: when each is due, and what it gives."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import nn

from sclip_plugin.evaluation.models import Preprocess, Tokenizer
from sclip_plugin.evaluation.names import CLASSIFICATION, RETRIEVAL
from sclip_plugin.evaluation.retrieval import evaluate_retrieval
from sclip_plugin.evaluation.sets import open_set
from sclip_plugin.evaluation.zeroshot import evaluate_zeroshot


class _Options(TypedDict):
    """What both evaluation functions take."""

    device: str | torch.device
    batch_size: int
    workers: int
    precision: str


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Give back the random state of torch (the current GPU's too), NumPy and Python as it was.

    Loaders draw a seed even where they shuffle nothing; within this block that does not reach the training.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


@dataclass
class EvaluationSets:
    """Sets to evaluate while training.

    Attributes:
        zeroshot: the folder of each classification set by its name.
        retrieval: the folder of the retrieval set, or None.
        preprocess: PIL image → (3, H, W); None where nothing is evaluated yet.
        tokenizer: texts → tokens; None where nothing is evaluated yet.
        zeroshot_frequency: epochs from one zero-shot evaluation to the next, 0 for never; the last epoch has one.
        val_frequency: the same for retrieval.
    """

    zeroshot: dict[str, str]
    retrieval: str | None
    preprocess: Preprocess | None
    tokenizer: Tokenizer | None
    zeroshot_frequency: int
    val_frequency: int

    def __bool__(self) -> bool:
        return bool(self.zeroshot or self.retrieval)

    def check(self) -> None:
        """Look at each set's files.

        Raises:
            DataError: a set is incomplete or of the other kind.
        """
        for folder in self.zeroshot.values():
            open_set(folder, CLASSIFICATION)
        if self.retrieval:
            open_set(self.retrieval, RETRIEVAL)

    def evaluate(
        self,
        model: nn.Module,
        epoch: int,
        last: bool,
        *,
        device: str | torch.device,
        batch_size: int,
        workers: int,
        precision: str,
    ) -> dict[str, float]:
        """Metrics of the sets due after `epoch` epochs: `NAME/acc1`, `image_retrieval_recall@1`, `clip_val_loss`, ….

        Args:
            model: an open_clip model, not wrapped by `torch.compile`.
            epoch: the number of epochs that are done.
            last: whether they are all.
            device: where the model is.
            batch_size: images, and texts, in a forward pass.
            workers: processes that decode images (0: this one).
            precision: one of `names.PRECISIONS`, as open_clip's `--precision`.
        """
        assert self.preprocess is not None, "made without the model's transform"
        assert self.tokenizer is not None, "made without the model's tokenizer"
        towers = (model, self.preprocess, self.tokenizer)
        options: _Options = {"device": device, "batch_size": batch_size, "workers": workers, "precision": precision}
        metrics: dict[str, float] = {}
        if _due(self.zeroshot_frequency, epoch, last):
            for name, folder in self.zeroshot.items():
                found = evaluate_zeroshot(*towers, folder, **options)
                metrics.update({f"{name}/{metric}": value for metric, value in found.items()})
        if self.retrieval and _due(self.val_frequency, epoch, last):
            metrics.update(evaluate_retrieval(*towers, self.retrieval, with_loss=True, **options))
        return metrics


def _due(frequency: int, epoch: int, last: bool) -> bool:
    return bool(frequency) and (last or epoch % frequency == 0)
