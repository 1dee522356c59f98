"""What a run of open_clip_train 3.x has recorded in its folder: the arguments in `params.txt`, and `checkpoints/`.

The host writes a line `name: value` for each argument, the value as Python prints it. Importing this module imports
nothing heavy.
"""

import ast
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.evaluation.activation import NAMES, uses_quick_gelu
from sclip_plugin.evaluation.models import ModelOptions
from sclip_plugin.evaluation.names import PRECISIONS
from sclip_plugin.evaluation.weights import CONFIG
from sclip_plugin.loss.settings import CANDIDATES, LossSettings

PARAMETERS: Final = "params.txt"
CHECKPOINTS: Final = "checkpoints"
RESULTS: Final = "results.jsonl"
LATEST: Final = "epoch_latest.pt"  # what --save-most-recent writes after every epoch
_EPOCH: Final = re.compile(r"epoch_(\d+)\.pt")


@dataclass(frozen=True)
class RecordedRun:
    """A run, as its folder tells of it.

    Attributes:
        folder: the run's, `logs/NAME`.
        model: `--model`.
        pretrained: `--pretrained`, the weights it started from; None where there were none beside the model's own.
        precision: `--precision`, one of `names.PRECISIONS`.
        epochs: how many it was to train.
        options: how its model was built and how its images were prepared.
        candidates: `--sclip-candidates`, one of `loss.settings.CANDIDATES`.
    """

    folder: Path
    model: str
    pretrained: str | None
    precision: str
    epochs: int
    options: ModelOptions
    candidates: str = LossSettings.candidates

    def checkpoint(self, name: str | None = None, flag: str = "--pretrained") -> Path:
        """A checkpoint file of the run.

        Args:
            name: its name, `epoch_3.pt` for instance, or its path; None: the last one.
            flag: the option that named it, for messages.

        Raises:
            DataError: there is none, or none of this name; the message lists what is there.
        """
        folder = self.folder / CHECKPOINTS
        there = sorted(folder.glob("*.pt"), key=_number) if folder.is_dir() else []
        if not there:
            raise DataError(f"{self.folder}: no checkpoint in {CHECKPOINTS}/")
        if name is None:
            whole = (folder / f"epoch_{self.epochs}.pt", folder / LATEST)
            return next((path for path in whole if path in there), there[-1])
        for path in there:
            if path.name == name or path.resolve() == Path(name).resolve():
                return path
        raise DataError(f"{flag} {name}: no checkpoint of {self.folder}: {', '.join(path.name for path in there)}")

    def preprocessing(self) -> ModelOptions:
        """`options`, completed by what open_clip knows of the tag that the run started from.

        A tag brings its own preprocessing, which the host does not write down, and which a checkpoint loaded by its
        path would be without.
        """
        if not self.pretrained or ":" in self.model:
            return self.options
        import open_clip

        tag = open_clip.get_pretrained_cfg(self.model.replace("/", "-"), self.pretrained)
        names = ("mean", "std", "interpolation", "resize_mode")
        missing = {name: tag[name] for name in names if getattr(self.options, name) is None and name in tag}
        return replace(self.options, **missing)


def read_run(folder: Path) -> RecordedRun:
    """What a run recorded.

    Args:
        folder: the run's, `logs/NAME`.

    Raises:
        UsageError: the folder is no run's.
        DataError: its `params.txt` is damaged; the message names the line.
    """
    path = folder / PARAMETERS
    if not path.is_file():
        raise UsageError(f"{folder}: not the folder of a run (logs/NAME): no {PARAMETERS} there")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    values = _Values(path, dict(line.split(": ", 1) for line in lines if ": " in line))
    model, precision = values.text("model"), values.text("precision")
    if not model:
        raise DataError(f"{path}: no model there")
    if precision not in PRECISIONS:
        raise DataError(f"{path}: precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    candidates = values.text("sclip_candidates") or LossSettings.candidates
    if candidates not in CANDIDATES:
        raise DataError(f"{path}: sclip_candidates must be one of {', '.join(CANDIDATES)}, got {candidates!r}")
    return RecordedRun(
        folder,
        model,
        values.text("pretrained") or None,
        precision,
        values.count("epochs"),
        _options(values),
        candidates,
    )


def run_of(checkpoint: Path) -> RecordedRun | None:
    """The run that a checkpoint file lies in the folder of; None where there is none.

    Raises:
        DataError: the run's `params.txt` is damaged.
    """
    folder = checkpoint.resolve().parent
    if folder.name != CHECKPOINTS or not (folder.parent / PARAMETERS).is_file():
        return None
    return read_run(folder.parent)


def other_activation(
    model: str, checkpoint: str | None, forced: bool = False, flag: str = "--pretrained"
) -> str | None:
    """One line where a checkpoint's run trained a model with another activation than the named one; else None.

    The weights would load all the same, and measure less than they are worth. What is known of a checkpoint is the
    `params.txt` of the run in whose folder it lies.

    Args:
        model: what `--model` says.
        checkpoint: a file; of a tag nothing is recorded.
        forced: whether the named model is built with QuickGELU whatever its configuration says.
        flag: the option that named the checkpoint, for messages.

    Raises:
        DataError: the run's record is damaged.
    """
    record = run_of(Path(checkpoint)) if checkpoint else None
    if record is None or model_gone(record.model):
        return None
    trained = uses_quick_gelu(record.model, record.options.quick_gelu)
    has = uses_quick_gelu(model, forced)
    if trained is None or has is None or trained == has:
        return None
    beside = " --force-quick-gelu" if record.options.quick_gelu else ""
    return (
        f"--model {model} has {NAMES[has]}, but {flag} {checkpoint} was trained with --model {record.model}{beside}, "
        f"which has {NAMES[trained]}"
    )


def model_gone(model: str) -> bool:
    """Whether a model is a folder that is not there (any more)."""
    return model.startswith("local-dir:") and not (Path(model.removeprefix("local-dir:")) / CONFIG).is_file()


def read_results(folder: Path, before: int) -> dict[int, dict[str, float]]:
    """What a run's evaluations have measured: each metric by its name, after each number of epochs (0: at the start).

    Args:
        folder: the run's `checkpoints/`.
        before: rows of this many epochs and more are left out; a run that goes on from there measures them anew.
    """
    found: dict[int, dict[str, float]] = {}
    path = folder / RESULTS
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            epoch = int(row.pop("epoch"))
            values = {name: float(value) for name, value in row.items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            logging.warning(f"sclip_plugin: {path}: line {number} is no row of an evaluation, and is left out")
            continue
        if epoch < before:
            found.setdefault(epoch, {}).update(values)
    return found


class _Values:
    """The values of a `params.txt`, by the type that each must have; an absent line counts as None."""

    def __init__(self, path: Path, values: Mapping[str, str]):
        self.path, self._values = path, values

    def text(self, name: str) -> str:
        """A word, which the host writes without quotes; empty for None."""
        found = self._values.get(name, "").strip()
        return "" if found == "None" else found

    def _literal(self, name: str) -> object:
        try:
            return ast.literal_eval(self._values.get(name, "None").strip() or "None")
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise self._fault(name, "a value as Python prints it") from None

    def _fault(self, name: str, words: str) -> DataError:
        return DataError(f"{self.path}: {name} must be {words}, got {self._values.get(name, '')!r:.60}")

    def switch(self, name: str) -> bool:
        """True or False; an absent line is False."""
        found = self._literal(name)
        if found is not None and not isinstance(found, bool):
            raise self._fault(name, "True or False")
        return bool(found)

    def count(self, name: str) -> int:
        """A whole number above 0; 0 where the line is absent."""
        return self._whole(name, self._literal(name)) or 0

    def sizes(self, name: str) -> int | tuple[int, int] | None:
        """A whole number above 0, or two of them."""
        found = self._literal(name)
        if not isinstance(found, list | tuple):
            return self._whole(name, found)
        numbers = [self._whole(name, one) for one in found]
        if len(numbers) == 1:
            return numbers[0]
        if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
            raise self._fault(name, "one whole number or two")
        return numbers[0], numbers[1]

    def _whole(self, name: str, value: object) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self._fault(name, "a whole number above 0")
        return value

    def floats(self, name: str) -> tuple[float, ...] | None:
        """Numbers, one for each channel."""
        found = self._literal(name)
        if found is None:
            return None
        numbers = [one for one in found if isinstance(one, int | float)] if isinstance(found, list | tuple) else []
        if not isinstance(found, list | tuple) or not numbers or len(numbers) < len(found):
            raise self._fault(name, "a list of numbers")
        return tuple(float(one) for one in numbers)


def _options(values: _Values) -> ModelOptions:
    return ModelOptions(
        quick_gelu=values.switch("force_quick_gelu"),
        custom_text=values.switch("force_custom_text"),
        logit_bias=values.switch("siglip"),
        image_size=values.sizes("force_image_size"),
        context_length=values.count("force_context_length") or None,
        mean=values.floats("image_mean"),
        std=values.floats("image_std"),
        interpolation=values.text("image_interpolation") or None,
        resize_mode=values.text("image_resize_mode") or None,
    )


def epoch_of(checkpoint: str | Path) -> int | None:
    """The epoch that a checkpoint file's name tells of, as in `epoch_3.pt`; None of other names."""
    found = _EPOCH.fullmatch(Path(checkpoint).name)
    return int(found[1]) if found else None


def _number(path: Path) -> tuple[int, str]:
    """Sorts checkpoints by their epoch; files of other names come first."""
    epoch = epoch_of(path)
    return (-1 if epoch is None else epoch, path.name)
