"""Evaluating a loaded model on several sets of either kind. Importing this module imports nothing heavy."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sclip_plugin.evaluation.models import Preprocess, Tokenizer
from sclip_plugin.evaluation.names import RETRIEVAL, TASKS

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True)
class NamedSet:
    """An evaluation set and the name under which its measures are reported.

    Attributes:
        kind: `names.RETRIEVAL` or `names.CLASSIFICATION`.
        name: its name, which only a set of the other kind may share.
        folder: the set on disk, in CLIP_benchmark's layout.
    """

    kind: str
    name: str
    folder: str


@dataclass(frozen=True)
class EvaluationOptions:
    """How sets are evaluated.

    Attributes:
        device: where the model is, `cuda` or `cpu` for instance.
        batch_size: images, and texts, in a forward pass, at least 1.
        workers: processes that decode images (0: this one).
        precision: one of `names.PRECISIONS`, as open_clip's `--precision`.
        bootstrap: draws of the images behind 95% intervals, at least 2; None for no intervals.
    """

    device: str
    batch_size: int = 64
    workers: int = 0
    precision: str = "fp32"
    bootstrap: int | None = None


@dataclass(frozen=True)
class SetResult:
    """What a model measures on one set.

    Attributes:
        set: the set.
        metrics: each metric's value, from 0 to 1, under CLIP_benchmark's names.
        counts: images used, captions, and samples skipped by reason.
        ranks: the arrays behind the metrics, as `bootstrap.replicates` takes them; empty where features were not
            finite.
        bootstrap: draws of the images behind the intervals; None where there are none.
        intervals: the 95% interval of each metric.
    """

    set: NamedSet
    metrics: dict[str, float]
    counts: dict[str, int]
    ranks: "dict[str, np.ndarray]"
    bootstrap: int | None = None
    intervals: dict[str, tuple[float, float]] | None = None

    def record(self) -> dict[str, Any]:
        """The entry in a JSON report."""
        found: dict[str, Any] = {"dataset": self.set.name, "task": TASKS[self.set.kind]}
        found |= {"metrics": self.metrics, "counts": self.counts}
        if self.intervals is not None:
            found |= {"bootstrap": self.bootstrap, "intervals": self.intervals}
        return found


def check_sets(sets: Iterable[NamedSet]) -> None:
    """Look at the files of all sets, before a model loads.

    Raises:
        DataError: a set is incomplete or of the other kind.
    """
    from sclip_plugin.evaluation.sets import open_set

    for one in sets:
        open_set(one.folder, one.kind)


def evaluate_model(
    model: "torch.nn.Module",
    preprocess: Preprocess,
    tokenizer: Tokenizer,
    sets: Iterable[NamedSet],
    options: EvaluationOptions,
) -> list[SetResult]:
    """What a model measures on each set, in the sets' order.

    Args:
        model: an open_clip model on the options' device; evaluated in eval mode and left as it was.
        preprocess: PIL image → (3, H, W), open_clip's validation transform.
        tokenizer: texts → tokens.
        sets: the sets.
        options: how they are evaluated.

    Raises:
        DataError: a set is incomplete, of the other kind, or without any usable sample.
    """
    return [_evaluate_set(model, preprocess, tokenizer, one, options) for one in sets]


def _evaluate_set(
    model: "torch.nn.Module", preprocess: Preprocess, tokenizer: Tokenizer, one: NamedSet, options: EvaluationOptions
) -> SetResult:
    from sclip_plugin.evaluation.bootstrap import intervals
    from sclip_plugin.evaluation.retrieval import evaluate_retrieval
    from sclip_plugin.evaluation.zeroshot import evaluate_zeroshot

    counts: Counter[str] = Counter()
    ranks: dict[str, np.ndarray] = {}
    evaluate = evaluate_retrieval if one.kind == RETRIEVAL else evaluate_zeroshot
    metrics = evaluate(
        model,
        preprocess,
        tokenizer,
        one.folder,
        device=options.device,
        batch_size=options.batch_size,
        workers=options.workers,
        precision=options.precision,
        counts=counts,
        ranks=ranks,
    )
    finite = all(value == value for value in metrics.values())
    if options.bootstrap is None or not ranks or not finite:
        return SetResult(one, metrics, dict(counts), ranks)
    spans = intervals(ranks, options.bootstrap)
    return SetResult(one, metrics, dict(counts), ranks, options.bootstrap, spans)
