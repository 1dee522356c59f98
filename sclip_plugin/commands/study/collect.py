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

PANEL = "sclip/panel"
RANKS = {names.CLASSIFICATION: ("class", "label", "classes"), names.RETRIEVAL: ("image", "text", "owner")}
# what reading JSON or NumPy's archives, and taking values out of them, may raise where a file is not what was written
_DAMAGED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
_UNREADABLE = (OSError, EOFError, BadZipFile)
_LOSS = re.compile(r"Train Epoch: .*?Contrastive_loss: ([\d.eE+-]+|nan|inf)")
_CHECKPOINT = re.compile(r"epoch_(\d+)\.pt$")


@dataclass(frozen=True)
class Measure:
    """The figure by which a set is compared: the accuracy of a classification set, the mean recall of a retrieval set.

    Attributes:
        dataset: the set's name.
        metric: `names.ACCURACY` or `names.MEAN_RECALL`.
    """

    dataset: str
    metric: str

    @property
    def title(self) -> str:
        """The heading of a column or picture."""
        return f"{self.dataset}: {names.SCORE_TITLES[self.kind]}"

    @property
    def kind(self) -> str:
        """`names.RETRIEVAL` or `names.CLASSIFICATION`."""
        return names.RETRIEVAL if self.metric == names.MEAN_RECALL else names.CLASSIFICATION


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
        return self.metrics[measure.dataset][measure.metric]

    def replicates(self, measure: Measure, samples: int) -> np.ndarray:
        """The measure in percent with other draws of the set's images, (samples,); every run gets the same draws."""
        start = f"{self.ranks_prefix}{measure.dataset}/"
        with _readable(self.ranks_file), np.load(self.ranks_file) as archive:
            ranks = {name: archive[f"{start}{name}"] for name in RANKS[measure.kind]}
            found = replicates(ranks, samples)
        if measure.metric == names.MEAN_RECALL:
            return 100 * np.mean([found[name] for name in names.RECALLS], axis=0)
        return 100 * found[measure.metric]


def measures(study: Study) -> list[Measure]:
    """The figures that a study's tables compare."""
    found = [Measure(name, names.ACCURACY) for name in study.evaluation.zeroshot]
    return found + [Measure(name, names.MEAN_RECALL) for name in study.evaluation.retrieval]


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
            result.history = [(_epoch(checkpoint), table) for checkpoint, table in result.by_checkpoint.items()]
    for measure in measures(study):
        if not isinstance(result.metrics.get(measure.dataset, {}).get(measure.metric), float):
            raise DataError(f"{file}: holds no {measure.metric} of {measure.dataset}; run the study again")
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
        table.setdefault(record["dataset"], {}).update(_percent(record["metrics"]))
        images[record["dataset"]] = record["counts"]["images"]
    return RunResult(name, history[last], images, ranks, f"{last}/" if several else "", history)


def _percent(metrics: dict[str, float]) -> dict[str, float]:
    found = {name: 100 * float(value) for name, value in metrics.items()}
    if all(name in found for name in names.RECALLS):
        found[names.MEAN_RECALL] = names.mean_recall(found)
    return found


def _epoch(checkpoint: str) -> int:
    found = _CHECKPOINT.search(checkpoint)
    if found is None:
        raise ValueError(f"not a checkpoint that the study named: {checkpoint}")
    return int(found[1])


def read_log(path: Path) -> tuple[list[float], list[str]]:
    """The contrastive losses and the plugin's warnings in a run's log."""
    losses: list[float] = []
    warnings: list[str] = []
    if not path.exists():
        return losses, warnings
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if found := _LOSS.search(line):
            losses.append(float(found[1]))
        elif "| WARNING |" in line and "sclip_plugin: " in line:
            warnings.append(line.partition("sclip_plugin: ")[2])
    return losses, warnings


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
