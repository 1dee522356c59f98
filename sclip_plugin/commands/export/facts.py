"""What a run's folder tells for a model card: its flags, the data behind its shards, its measures before and after."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sclip_plugin.data.shard_list import expand
from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.evaluation import names
from sclip_plugin.host.openclip3_records import CHECKPOINTS, PARAMETERS, RESULTS, epoch_of
from sclip_plugin.shards import layout
from sclip_plugin.shards.manifest import Manifest, read_manifest
from sclip_plugin.storage.location import Location, inside, location

#: the flags that say where data are, and what these data are to the run
DATA: Final = {
    "train_data": "pairs",
    "unpaired_data": "images without text",
    "val_data": "validation",
}
# What a card leaves out: where and how a run was logged, the machine, and paths, which are of no use elsewhere.
_UNTOLD: Final = frozenset(
    (
        *("cache_dir", "checkpoint_path", "copy_codebase", "debug", "delete_previous_checkpoint", "device"),
        *("dist_backend", "dist_url", "distributed", "horovod", "local_rank", "log_every_n_steps", "log_level"),
        *("log_local", "log_path", "logs", "name", "no_set_device_rank", "rank", "remote_sync"),
        *("remote_sync_frequency", "remote_sync_protocol", "report_to", "resume", "save_frequency"),
        *("save_most_recent", "tensorboard", "tensorboard_path", "wandb", "wandb_notes", "wandb_project_name"),
        *("workers", "zeroshot_data", "zeroshot_frequency", "val_frequency", *DATA),
        *(
            "csv_caption_key",
            "csv_img_key",
            "csv_separator",
            "coca_caption_loss_weight",
            "coca_contrastive_loss_weight",
        ),
        *("imagenet_val", "imagenet_v2", "lr_cooldown_end", "lr_cooldown_power", "lock_image_unlocked_groups"),
        *("lock_text_unlocked_layers", "dataset_type", "distill"),
    )
)
_TITLES: Final = {"world_size": "processes"}  # what is no flag of the command
_UNSET: Final = frozenset(("None", "False", "", "[]", "{}"))
_NAME: Final = re.compile(r"[a-z]\w*")
START: Final = "start model"
_COUNTED: Final = ("epoch", "num_samples")  # in a line of results, but no measures


@dataclass(frozen=True)
class DataRow:
    """One data set of a run.

    Attributes:
        role: what it was to the run.
        images: how many the shards hold.
        captions: how many captions the whole part holds; None where the run read some of its shards only.
        sources: names of what the shards were made of.
    """

    role: str
    images: int
    captions: int | None
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Measures:
    """What was measured before and after.

    Attributes:
        before: what was measured first, in words.
        after: what was measured last, the exported weights.
        rows: {metric: (value before, value after)}; NaN where one is missing.
        note: a sentence about the figures; empty where there is nothing to say.
    """

    before: str
    after: str
    rows: Mapping[str, tuple[float, float]]
    note: str = ""


def parameters(run: Path) -> dict[str, str]:
    """The arguments of a run as its `params.txt` has them, by name."""
    lines = (run / PARAMETERS).read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(": ")[::2] for line in lines)
    return {name: value.strip() for name, value in pairs if _NAME.fullmatch(name)}


def settings(run: Path) -> dict[str, str]:
    """{flag: value} of what a run was told and what others need to train alike, sorted.

    A folder of this machine is called by its own name only.
    """
    found = {}
    for name, value in sorted(parameters(run).items()):
        if name not in _UNTOLD and value not in _UNSET:
            found[_TITLES.get(name, f"--{name.replace('_', '-')}")] = shown(value)
    return found


def shown(value: str) -> str:
    """A value without the folders that lead to what it names."""
    scheme, colon, rest = value.partition("local-dir:")
    if colon and not scheme:
        return f"local-dir:{Path(rest).name}"
    return value if "://" in value or "/" not in value else Path(value).name


def data_table(run: Path, notes: list[str]) -> list[DataRow]:
    """The data sets of a run whose shards have a `manifest.json`.

    Args:
        run: the folder of the run.
        notes: gets a line for each data set of which nothing is known.
    """
    told = parameters(run)
    found = []
    for name, role in DATA.items():
        pattern = told.get(name, "")
        if pattern in _UNSET:
            continue
        try:
            found.append(_data_row(pattern, role, f"--{name.replace('_', '-')}"))
        except (DataError, UsageError) as error:
            notes.append(f"the model card does not count the {role}: {error}")
    return found


def _data_row(pattern: str, role: str, flag: str) -> DataRow:
    """The counts of the shards that a pattern names.

    Raises:
        DataError: there are no such shards, or they have no manifest, or it does not know them.
    """
    tests = location(pattern) / layout.TEST
    several = any(sign in pattern for sign in ("::", "{"))
    shards = [location(url) for url in expand(str(tests) if not several and tests.is_dir() else pattern, flag).urls]
    images, captions, sources = 0, 0, dict[str, None]()
    whole = True
    for folder in sorted({shard.parent for shard in shards}, key=str):
        root = _root_of(folder)
        manifest = read_manifest(root / layout.MANIFEST)
        listed = {name: one for name, one in manifest["shards"].items() if (root / name).parent == folder}
        used = [inside(shard, root) for shard in shards if shard.parent == folder]
        if missing := [name for name in used if name not in listed]:
            raise DataError(f"{root / layout.MANIFEST}: does not know {missing[0]}")
        images += sum(listed[name]["samples"] for name in used)
        captions += manifest["counts"]["captions"]["written"].get(_part(root, folder), 0)
        whole = whole and len(used) == len(listed)
        sources |= dict.fromkeys(_sources(manifest))
    return DataRow(role, images, captions if whole else None, tuple(sources))


def _root_of(folder: Location) -> Location:
    """The set that a folder of shards belongs to: the nearest folder above it that has a manifest.

    Raises:
        DataError: there is none.
    """
    for root in (folder.parent, folder.parent.parent):
        if (root / layout.MANIFEST).is_file():
            return root
    raise DataError(f"{folder}: no {layout.MANIFEST} beside it")


def _part(root: Location, folder: Location) -> str:
    relative = Path(inside(folder, root)).as_posix()
    return next((part for part in layout.TRAINING if layout.shard_folder(part) == relative), layout.CLASSES)


def _sources(manifest: Manifest) -> list[str]:
    return [str(one["name"]) for one in manifest["source"] if one.get("name")]


def measures(run: Path, checkpoint: str | None, notes: list[str]) -> Measures | None:
    """What the run measured first and of these weights, from `results.jsonl`; None where it measured nothing.

    Args:
        run: the folder of the run.
        checkpoint: the exported weights; None where they are none of the run's, and there is no measure of them.
        notes: gets a line where a table is missing, or where lines cannot be read.
    """
    path = run / CHECKPOINTS / RESULTS
    if checkpoint is None:
        notes.append("the model card has no measures: they are those of the run's own checkpoints")
        return None
    if not path.is_file():
        notes.append(f"the model card has no measures: no {path}")
        return None
    epochs, bad = _epochs(path)
    if bad:
        notes.append(f"{path}: {bad} lines are no results and are left out")
    number = epoch_of(checkpoint)
    last = max(epochs, default=None) if number is None else number
    if last not in epochs:
        notes.append(f"the model card has no measures: {path} has no line of epoch {last}")
        return None
    first = min(epochs)
    before = START if first == 0 else f"after epoch {first}"
    return Measures(before, f"after epoch {last}", _rows(epochs[first], epochs[last]))


def chosen_measures(path: Path) -> Measures:
    """What the start model and the chosen one measure, from the figures that `sclip wiseft --json` writes.

    Raises:
        DataError: the file cannot be read, or holds no such figures.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        alpha = float(report["chosen"])
        points = {float(one["alpha"]): _by_metric(one["results"]) for one in report["points"]}
        rows = _rows(points[0.0], points[alpha])
    except OSError as error:
        raise DataError(f"--measures {path}: {error.strerror or error}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise DataError(f"--measures {path}: not the figures that sclip wiseft --json writes") from None
    note = f"It lies between the start model (0) and the tuned one (1), at {alpha:g}, and was chosen on these sets."
    return Measures(START, "this model", rows, note)


def _by_metric(results: list[dict[str, Any]]) -> dict[str, float]:
    found = {f"{one['dataset']}/{name}": value for one in results for name, value in one["metrics"].items()}
    return {name: float(value) for name, value in found.items()}


def _epochs(path: Path) -> tuple[dict[int, dict[str, float]], int]:
    """({epochs done: measures}, lines that cannot be read); of several lines of one epoch the last counts."""
    found: dict[int, dict[str, float]] = {}
    bad = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict) or type(entry.get("epoch")) is not int:
            bad += 1
            continue
        values = {name: float(one) for name, one in entry.items() if _is_number(one) and name not in _COUNTED}
        found.setdefault(entry["epoch"], {}).update(values)
    return found, bad


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rows(first: Mapping[str, float], last: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    known = [name for name in first if name not in last]
    return {name: (first.get(name, math.nan), last.get(name, math.nan)) for name in [*last, *known]}


def in_percent(metric: str) -> bool:
    """Whether a metric is a share, which people read in percent."""
    name = metric.rpartition("/")[2]
    return name in (*names.CLASSIFICATION_METRICS, *names.RECALLS, names.MEAN_RECALL) or "R@" in name or "top" in name
