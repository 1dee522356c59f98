"""The plugin's own evaluation sets in a training run: when each is due, and what it gives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sclip_plugin.evaluation.retrieval import evaluate_retrieval
from sclip_plugin.evaluation.sets import CLASSIFICATION, RETRIEVAL, open_set
from sclip_plugin.evaluation.zeroshot import evaluate_zeroshot


def is_retrieval_set(path: str | None) -> bool:
    """True for a folder in the retrieval layout, which `--val-data` takes beside what open_clip takes."""
    return bool(path) and (Path(path) / "dataset_type.txt").is_file()


@dataclass
class EvaluationSets:
    """Sets to evaluate while training.

    Attributes:
        zeroshot: NAME → folder, due every `zeroshot_frequency` epochs (0: never) and after the last.
        retrieval: folder or None, due every `val_frequency` epochs and after the last.
        preprocess, tokenizer: as the evaluation functions take them.
    """

    zeroshot: dict[str, str]
    retrieval: str | None
    preprocess: Any
    tokenizer: Any
    zeroshot_frequency: int
    val_frequency: int

    def __bool__(self) -> bool:
        return bool(self.zeroshot or self.retrieval)

    def check(self) -> None:
        """Look at each set's files.

        Raises:
            DataError: a set that is incomplete or of the other kind.
        """
        for folder in self.zeroshot.values():
            open_set(folder, CLASSIFICATION)
        if self.retrieval:
            open_set(self.retrieval, RETRIEVAL)

    def evaluate(self, model, epoch: int, last: bool, **options) -> dict[str, float]:
        """Metrics of the sets due after `epoch` epochs: `NAME/acc1`, `image_retrieval_recall@1`, `clip_val_loss`, ….

        Args:
            model: an open_clip model, not wrapped by `torch.compile`.
            options: device, batch_size, workers, precision, as the evaluation functions take them.
        """
        metrics = {}
        if _due(self.zeroshot_frequency, epoch, last):
            for name, folder in self.zeroshot.items():
                found = evaluate_zeroshot(model, self.preprocess, self.tokenizer, folder, **options)
                metrics.update({f"{name}/{metric}": value for metric, value in found.items()})
        if self.retrieval and _due(self.val_frequency, epoch, last):
            found = evaluate_retrieval(
                model, self.preprocess, self.tokenizer, self.retrieval, with_loss=True, **options
            )
            metrics.update(found)
        return metrics


def _due(frequency: int, epoch: int, last: bool) -> bool:
    return bool(frequency) and (last or epoch % frequency == 0)
