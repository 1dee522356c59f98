"""What the runs of a study measured, read from their results, logs and TensorBoard files."""

import json
import re
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from sclip_plugin.commands.study import steps
from sclip_plugin.commands.study.folder import Folder
from sclip_plugin.commands.study.spec import Study
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation import names
from sclip_plugin.evaluation.bootstrap import replicates
from sclip_plugin.evaluation.evaluate import ranks_place
from sclip_plugin.host.openclip3_records import epoch_of

PANEL = "sclip/panel"
_CLASS_RANKS = ("class", "label", "classes")
RANKS = {
    names.CLASSIFICATION: _CLASS_RANKS,
    names.KNN: _CLASS_RANKS,
    names.LINEAR_PROBE: _CLASS_RANKS,
    names.RETRIEVAL: ("image", "text", "owner"),
    names.REGIONS: ("region", "caption", "chance", "picture"),
}
TITLES = {**names.SCORE_TITLES, **names.TRANSFER_TITLES}
# what a measure that is a mean is the mean of
PARTS = {names.MEAN_RECALL: names.RECALLS, names.REGION_RECALL: names.REGION_METRICS[:2]}
# what reading JSON or NumPy's archives, and taking values out of them, may raise where a file is not what was written
_DAMAGED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
_UNREADABLE = (OSError, EOFError, BadZipFile)
_LOSS = re.compile(r"(Train Epoch: \d+ \[ *\d+/).*?Contrastive_loss: ([\d.eE+-]+|nan|inf)")


@dataclass(frozen=True)
class Measure:
    """The figure by which a set is compared: an accuracy, or a mean recall.

    Attributes:
        dataset: the set's name.
        metric: `names.ACCURACY`, the same with a prefix of `names.PREFIXES`, or a key of `PARTS`.
        shots: images of each class that kNN or a probe learns from; None for all.
    """

    dataset: str
    metric: str
    shots: int | None = None

    @property
    def title(self) -> str:
        """The heading of a column or picture."""
        few = "" if self.shots is None else f", {self.shots} a class"
        return f"{self.dataset}: {TITLES[self.kind]}{few}"

    @property
    def phrase(self) -> str:
        """The figure in a sentence, for instance `accuracy on test`."""
        few = "" if self.shots is None else f" ({self.shots} a class)"
        return f"{TITLES[self.kind]} on {self.dataset}{few}"

    @property
    def kind(self) -> str:
        """What the set is asked; a key of `names.TASKS`."""
        special = {names.MEAN_RECALL: names.RETRIEVAL, names.REGION_RECALL: names.REGIONS}
        if self.metric in special:
            return special[self.metric]
        return next((k for k, start in names.PREFIXES.items() if self.metric.startswith(start)), names.CLASSIFICATION)

    @property
    def key(self) -> str:
        """The metric's name in a table of all metrics of the set."""
        return _key(self.metric, self.shots)

    @property
    def ranks(self) -> str:
        """What the names of its ranks begin with in a file of ranks."""
        return ranks_place(self.kind, self.dataset, self.shots)


def _key(metric: str, shots: int | None) -> str:
    return metric if shots is None else f"{metric}, {shots} a class"


Metrics = dict[str, dict[str, float]]  # of each set by its name: each metric's value in percent


@dataclass
class RunResult:
    """What one run, or the start model, measured.

    Attributes:
        name: the run's name.
        metrics: what its last checkpoint measures.
        images: how many images of each set were used.
        ranks_file: the archive with the ranks behind the metrics.
        ranks_prefix: what the last checkpoint's names in that archive begin with.
        by_checkpoint: what each evaluated checkpoint measures.
        history: what each evaluated checkpoint measures, with its epoch; empty for the start model.
        losses: training's contrastive loss at each logged step.
        warnings: what the plugin warned of.
        inside: the diagnostics at the end of training, by name.
        panel: its last image panel, PNG.
        seconds: how long training took.
    """

    name: str
    metrics: Metrics
    images: dict[str, int]
    ranks_file: Path
    ranks_prefix: str
    by_checkpoint: dict[str, Metrics] = field(default_factory=dict)
    history: list[tuple[int, Metrics]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    inside: dict[str, float] = field(default_factory=dict)
    panel: bytes | None = None
    seconds: float | None = None

    def value(self, measure: Measure) -> float:
        """The measure's value in percent."""
        return self.metrics[measure.dataset][measure.key]

    def replicates(self, measure: Measure, samples: int) -> np.ndarray:
        """The measure in percent with other draws of the set's images, (samples,); every run gets the same draws."""
        start = f"{self.ranks_prefix}{measure.ranks}/"
        with _readable(self.ranks_file), np.load(self.ranks_file) as archive:
            ranks = {name: archive[f"{start}{name}"] for name in RANKS[measure.kind]}
            found = replicates(ranks, samples)
        plain = measure.metric.removeprefix(names.PREFIXES.get(measure.kind, ""))
        return 100 * np.mean([found[name] for name in PARTS.get(measure.metric, (plain,))], axis=0)


def measures(study: Study) -> list[Measure]:
    """The figures that a study's tables compare."""
    asked = study.evaluation
    found = [Measure(name, names.ACCURACY) for name in asked.zeroshot]
    found += [Measure(name, names.MEAN_RECALL) for name in asked.retrieval]
    for kind, table in asked.transfer.items():
        if kind == names.REGIONS:
            found += [Measure(name, names.REGION_RECALL) for name in table]
        else:
            metric = f"{names.PREFIXES[kind]}{names.ACCURACY}"
            found += [Measure(name, metric, shots) for name in table for shots in (None, *asked.shots)]
    return found


def read(study: Study, out: Path, name: str) -> RunResult | None:
    """A run by its name, or None where it is not finished.

    Raises:
        DataError: its results are damaged, or lack one of the study's figures.
    """
    file, ranks = steps.result_files(out, name)
    if not file.exists():
        return None
    folder = out / "runs" / name
    with _readable(file):
        result = _results(name, file, ranks)
        if folder.is_dir():
            result.history = [(epoch(checkpoint), table) for checkpoint, table in result.by_checkpoint.items()]
    for measure in measures(study):
        if not isinstance(result.metrics.get(measure.dataset, {}).get(measure.key), float):
            raise DataError(f"{file}: holds no {measure.key} of {measure.dataset}; run the study again")
    if folder.is_dir():
        result.losses, result.warnings = read_log(folder / "out.log")
        result.seconds = Folder(out).seconds(f"train-{name}")
        result.inside, result.panel = read_diagnostics(folder / "tensorboard")
    return result


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """While a file is read that evaluation wrote.

    Raises:
        DataError: it is damaged, or not what evaluation writes.
    """
    try:
        yield
    except (*_DAMAGED, *_UNREADABLE):
        raise DataError(f"{file}: damaged; remove it, and run the study again, which writes it anew") from None


def _results(name: str, file: Path, ranks: Path) -> RunResult:
    report = json.loads(file.read_text(encoding="utf-8"))
    several = isinstance(report["pretrained"], list)
    last = report["pretrained"][-1] if several else report["pretrained"]
    history: dict[str, Metrics] = {}
    images: dict[str, int] = {}
    for record in report["results"]:
        table = history.setdefault(record.get("pretrained", last), {})
        shots = record.get("settings", {}).get("fewshot_k", -1)
        found = _percent(record["metrics"]).items()
        table.setdefault(record["dataset"], {}).update({_key(k, None if shots < 0 else shots): v for k, v in found})
        images[record["dataset"]] = record["counts"]["images"]
    return RunResult(name, history[last], images, ranks, f"{last}/" if several else "", history)


def _percent(metrics: dict[str, float]) -> dict[str, float]:
    found = {name: 100 * float(value) for name, value in metrics.items()}
    for mean, parts in PARTS.items():
        if all(name in found for name in parts):
            found[mean] = statistics.fmean(found[name] for name in parts)
    return found


def epoch(checkpoint: str) -> int:
    """The epoch of a checkpoint that a study has named; raises `ValueError` of another."""
    found = epoch_of(checkpoint)
    if found is None:
        raise ValueError(f"not a checkpoint that the study named: {checkpoint}")
    return found


def read_log(path: Path) -> tuple[list[float], list[str]]:
    """The contrastive losses and the plugin's warnings in a run's log.

    A run that went on where it was ended has logged the steps of the broken epoch twice; the second time counts.
    """
    losses: dict[str, float] = {}
    warnings: list[str] = []
    if not path.exists():
        return [], warnings
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if found := _LOSS.search(line):
            losses[found[1]] = float(found[2])
        elif "| WARNING |" in line and "sclip_plugin: " in line:
            warnings.append(line.partition("sclip_plugin: ")[2])
    return list(losses.values()), warnings


def read_diagnostics(folder: Path) -> tuple[dict[str, float], bytes | None]:
    """A run's diagnostics, as means over the last quarter of what was logged, and its last image panel.

    Args:
        folder: the run's TensorBoard files.
    """
    if not folder.is_dir():
        return {}, None
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 1})
    events.Reload()
    found = {}
    for tag in events.Tags()["scalars"]:
        if tag.startswith("sclip/"):
            values = [event.value for event in events.Scalars(tag)]
            found[tag.removeprefix("sclip/")] = statistics.fmean(values[-max(1, len(values) // 4) :])
    panels = events.Images(PANEL) if PANEL in events.Tags()["images"] else []
    return found, panels[-1].encoded_image_string if panels else None
