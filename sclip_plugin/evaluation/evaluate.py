"""Evaluating a loaded model on several sets of either kind. Importing this module imports nothing heavy."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from sclip_plugin.evaluation.models import Preprocess, Tokenizer
from sclip_plugin.evaluation.names import CLASSIFICATION, PREFIXES, REGIONS, RETRIEVAL, TASKS

if TYPE_CHECKING:
    import numpy as np
    import torch

    from sclip_plugin.evaluation.frozen import Settings
    from sclip_plugin.evaluation.labelled import Splits

T = TypeVar("T")


@dataclass(frozen=True)
class NamedSet:
    """An evaluation set and the name under which its measures are reported.

    Attributes:
        kind: what it is asked; a key of `names.TASKS`.
        name: its name, which only a set of another kind may share.
        folder: the set on disk, in CLIP_benchmark's layout, or that of `regions`.
        shots: images of each class that kNN or the linear probe learns from; None for all.
    """

    kind: str
    name: str
    folder: str
    shots: int | None = None

    @property
    def title(self) -> str:
        """Its name in tables."""
        return self.name if self.shots is None else f"{self.name}, {self.shots} a class"

    @property
    def place(self) -> str:
        """What the names of its ranks begin with in a file of all ranks."""
        return ranks_place(self.kind, self.name, self.shots)


def ranks_place(kind: str, name: str, shots: int | None = None) -> str:
    """What the names of a set's ranks begin with in a file of all ranks."""
    if kind in (CLASSIFICATION, RETRIEVAL):
        return name
    return f"{name}/{kind}" if shots is None else f"{name}/{kind}-{shots}"


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
        settings: how the figures of kNN and the linear probe came about.
    """

    set: NamedSet
    metrics: dict[str, float]
    counts: dict[str, int]
    ranks: "dict[str, np.ndarray]"
    bootstrap: int | None = None
    intervals: dict[str, tuple[float, float]] | None = None
    settings: "Settings | None" = None

    def record(self) -> dict[str, Any]:
        """The entry in a JSON report."""
        found: dict[str, Any] = {"dataset": self.set.name, "task": TASKS[self.set.kind]}
        found |= {"metrics": self.metrics, "counts": self.counts}
        if self.settings:
            found |= {"settings": self.settings}
        if self.intervals is not None:
            found |= {"bootstrap": self.bootstrap, "intervals": self.intervals}
        return found


def check_sets(sets: Iterable[NamedSet]) -> None:
    """Look at the files of all sets, before a model loads.

    Raises:
        DataError: a set is incomplete or of the other kind.
    """
    from sclip_plugin.evaluation.labelled import check_splits
    from sclip_plugin.evaluation.regions import open_regions
    from sclip_plugin.evaluation.sets import open_set

    for one in sets:
        if one.kind in PREFIXES:
            check_splits(one.folder)
        elif one.kind == REGIONS:
            open_regions(one.folder)
        else:
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
    evaluator = _Evaluator(model, preprocess, tokenizer, options)
    return [evaluator.result(one) for one in sets]


class _Evaluator:
    """Evaluates one model; the features of a classification set serve kNN and the linear probe."""

    def __init__(
        self, model: "torch.nn.Module", preprocess: Preprocess, tokenizer: Tokenizer, options: EvaluationOptions
    ) -> None:
        self.towers, self.options = (model, preprocess, tokenizer), options
        self._splits: dict[str, Splits] = {}

    def result(self, one: NamedSet) -> SetResult:
        """What the model measures on a set."""
        from sclip_plugin.evaluation.bootstrap import intervals

        counts: Counter[str] = Counter()
        ranks: dict[str, np.ndarray] = {}
        settings: Settings = {}
        if one.kind in PREFIXES:
            metrics = self._frozen(one, counts, ranks, settings)
        else:
            metrics = self._with_text(one, counts, ranks)
        found = SetResult(one, _prefixed(one, metrics), dict(counts), ranks, settings=settings or None)
        finite = all(value == value for value in metrics.values())
        if self.options.bootstrap is None or not ranks or not finite:
            return found
        spans = intervals(ranks, self.options.bootstrap)
        return replace(found, bootstrap=self.options.bootstrap, intervals=_prefixed(one, spans))

    def _with_text(self, one: NamedSet, counts: Counter[str], ranks: "dict[str, np.ndarray]") -> dict[str, float]:
        from sclip_plugin.evaluation.regions import evaluate_regions
        from sclip_plugin.evaluation.retrieval import evaluate_retrieval
        from sclip_plugin.evaluation.zeroshot import evaluate_zeroshot

        evaluate = {RETRIEVAL: evaluate_retrieval, CLASSIFICATION: evaluate_zeroshot, REGIONS: evaluate_regions}
        return evaluate[one.kind](
            *self.towers,
            one.folder,
            device=self.options.device,
            batch_size=self.options.batch_size,
            workers=self.options.workers,
            precision=self.options.precision,
            counts=counts,
            ranks=ranks,
        )

    def _frozen(
        self, one: NamedSet, counts: Counter[str], ranks: "dict[str, np.ndarray]", settings: "Settings"
    ) -> dict[str, float]:
        from sclip_plugin.evaluation.features import Encoder, evaluating
        from sclip_plugin.evaluation.frozen import evaluate_frozen
        from sclip_plugin.evaluation.labelled import read_splits

        if one.folder not in self._splits:
            model, preprocess, tokenizer = self.towers
            encoder = Encoder(model, tokenizer, self.options.device, self.options.precision)
            with evaluating(model):
                self._splits[one.folder] = read_splits(
                    encoder, preprocess, one.folder, self.options.batch_size, self.options.workers
                )
        splits = self._splits[one.folder]
        return evaluate_frozen(splits, one.kind, one.shots, counts=counts, ranks=ranks, settings=settings)


def _prefixed(one: NamedSet, metrics: "dict[str, T]") -> "dict[str, T]":
    """The metrics under their names, which begin with `knn_` or `lp_` where features are classified."""
    prefix = PREFIXES.get(one.kind, "")
    return {f"{prefix}{name}": value for name, value in metrics.items()}
