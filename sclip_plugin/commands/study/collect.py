"""What the runs of a study measured: read from its results, logs and TensorBoard files."""

import json
import re
import statistics
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sclip_plugin.commands.study import plan
from sclip_plugin.commands.study.spec import Study
from sclip_plugin.commands.study.steps import Folder
from sclip_plugin.evaluation.bootstrap import replicates

RECALLS = tuple(f"{way}_retrieval_recall@{k}" for way in ("image", "text") for k in (1, 5, 10))
MEAN_RECALL = "mean_recall"  # of the six above: the figure that retrieval is compared by
PANEL = "sclip/panel"
_LOSS = re.compile(r"Train Epoch: .*?Contrastive_loss: ([\d.eE+-]+|nan|inf)")


@dataclass(frozen=True)
class Measure:
    """One figure of a set: accuracy of a classification set, mean recall of a retrieval set."""

    dataset: str
    metric: str

    @property
    def title(self) -> str:
        """As a column's heading."""
        return f"{self.dataset}: " + ("mean R@1,5,10" if self.metric == MEAN_RECALL else "accuracy")

    @property
    def kind(self) -> str:
        """`retrieval` or `classification`."""
        return "retrieval" if self.metric == MEAN_RECALL else "classification"


@dataclass
class RunResult:
    """One run, or the start model.

    metrics: {dataset: {metric: value in percent}} of the last checkpoint. history: (epoch, metrics) of each that was
    evaluated. losses: training's contrastive loss at each logged step. warnings: what the plugin warned of. inside: the
    diagnostics at its end. panel: its last image panel, PNG. seconds: of training.
    """

    name: str
    metrics: dict[str, dict[str, float]]
    history: list[tuple[int, dict]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    inside: dict[str, float] = field(default_factory=dict)
    panel: bytes | None = None
    seconds: float | None = None
    images: dict[str, int] = field(default_factory=dict)
    ranks_file: Path | None = None
    ranks_prefix: str = ""

    def value(self, measure: Measure) -> float:
        """In percent."""
        return self.metrics[measure.dataset][measure.metric]

    def replicates(self, measure: Measure, samples: int) -> np.ndarray:
        """(samples,) of the measure, in percent, with other draws of the set's images; the same draws for every run."""
        with np.load(self.ranks_file) as archive:
            start = f"{self.ranks_prefix}{measure.dataset}/"
            names = [name for name in archive.files if name.startswith(start)]
            wanted = {"class", "label", "classes"} if measure.kind == "classification" else {"image", "text", "owner"}
            ranks = {name.removeprefix(start): archive[name] for name in names}
        found = replicates({name: ranks[name] for name in wanted}, samples)
        if measure.metric == MEAN_RECALL:
            return 100 * np.mean([found[name] for name in RECALLS], axis=0)
        return 100 * found[measure.metric]


def measures(study: Study) -> list[Measure]:
    """The figures that a study's tables compare."""
    found = [Measure(name, "acc1") for name in study.evaluation.zeroshot]
    return found + [Measure(name, MEAN_RECALL) for name in study.evaluation.retrieval]


def read(study: Study, out: Path, name: str) -> RunResult | None:
    """A run by its name, or None where it is not finished."""
    file, ranks = plan.result_files(out, name)
    if not file.exists():
        return None
    report = json.loads(file.read_text())
    several = isinstance(report["pretrained"], list)
    last = report["pretrained"][-1] if several else report["pretrained"]
    history: dict[str, dict] = {}
    images = {}
    for record in report["results"]:
        table = history.setdefault(record.get("pretrained", last), {})
        table.setdefault(record["dataset"], {}).update(_percent(record["metrics"]))
        images[record["dataset"]] = record["counts"]["images"]
    result = RunResult(name, history[last], images=images, ranks_file=ranks, ranks_prefix=f"{last}/" if several else "")
    folder = out / "runs" / name
    if folder.is_dir():
        result.history = [(_epoch(checkpoint), table) for checkpoint, table in history.items()]
        result.losses, result.warnings = read_log(folder / "out.log")
        result.seconds = Folder(out).seconds(f"train-{name}")
        result.inside, result.panel = read_diagnostics(folder / "tensorboard")
    return result


def _percent(metrics: dict[str, float]) -> dict[str, float]:
    found = {name: 100 * value for name, value in metrics.items()}
    if all(name in found for name in RECALLS):
        found[MEAN_RECALL] = statistics.fmean(found[name] for name in RECALLS)
    return found


def _epoch(checkpoint: str) -> int:
    return int(re.search(r"epoch_(\d+)\.pt$", checkpoint).group(1))


def read_log(path: Path) -> tuple[list[float], list[str]]:
    """The contrastive losses and the plugin's warnings in a run's log."""
    losses, warnings = [], []
    if not path.exists():
        return losses, warnings
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if found := _LOSS.search(line):
            losses.append(float(found.group(1)))
        elif "| WARNING |" in line and "sclip_plugin: " in line:
            warnings.append(line.partition("sclip_plugin: ")[2])
    return losses, warnings


def read_diagnostics(folder: Path) -> tuple[dict[str, float], bytes | None]:
    """A run's TensorBoard files: diagnostics, as means over the last quarter of what was logged, and the last panel."""
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
