"""The model that a command line asks for: by name and weights, or by the folder of a run, which has recorded both."""

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sclip_plugin.commands.flags.paths import named_path
from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.evaluation.activation import model_config
from sclip_plugin.evaluation.models import AS_NAMED, ModelOptions
from sclip_plugin.host.openclip3_records import RecordedRun, model_gone, other_activation, read_run

STANDARD: Final = "fp32"  # the precision where neither a run nor the user names one; open_clip's for evaluation
_ALIKE: Final = {"amp_bfloat16": "amp_bf16"}  # two names of one precision


@dataclass(frozen=True)
class ChosenModel:
    """The model of a command line.

    Attributes:
        name: open_clip's name of it, or `local-dir:DIR`.
        precision: one of `names.PRECISIONS`.
        options: how it is built, and how its images are prepared.
        run: the run whose folder was named; None without one.
    """

    name: str
    precision: str
    options: ModelOptions = AS_NAMED
    run: RecordedRun | None = None


def add_run_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `RUN` and `--model`."""
    parser.add_argument(
        "run_folder",
        nargs="?",
        type=named_path,
        metavar="RUN",
        help="folder of a run (logs/NAME): model, precision and preprocessing are those that it recorded",
    )
    parser.add_argument("--model", help="open_clip model name, or local-dir:DIR (default: RUN's)")


def chosen_model(run: Path | None, model: str | None, precision: str | None = None) -> ChosenModel:
    """The model of a command line.

    Args:
        run: what `RUN` says; None where it is not given.
        model: what `--model` says; None where it is not given.
        precision: what `--precision` says; None where it is not given.

    Raises:
        UsageError: neither RUN nor a model is given, RUN is no run, or a flag says something else than RUN recorded.
        DataError: RUN's record is damaged, or the folder of its model is gone.
    """
    if run is None:
        if model is None:
            raise UsageError("no model: pass RUN, the folder of a run, or --model")
        return ChosenModel(model, precision or STANDARD)
    record = read_run(run)
    if precision is not None and _ALIKE.get(precision, precision) != _ALIKE.get(record.precision, record.precision):
        raise UsageError(
            f"--precision {precision}: {run} was trained with --precision {record.precision}; leave the flag out, or "
            "name model and checkpoint in place of the folder"
        )
    return ChosenModel(_model(record, model), record.precision, record.preprocessing(), record)


def _model(record: RecordedRun, model: str | None) -> str:
    """The model's name: the recorded one, or another of the same model, a folder that has moved say."""
    gone = model_gone(record.model)
    if model is None or model == record.model:
        if gone:
            raise DataError(f"{record.folder}: its --model {record.model} is not there; pass --model")
        return record.model
    if gone:
        logging.warning(f"{record.folder}: --model {record.model} is not there, so --model {model} is taken unseen")
        return model
    named = _config(model, record.options)
    if named is None or named != _config(record.model, record.options):
        raise UsageError(
            f"--model {model}: {record.folder} was trained with another, --model {record.model}; leave the flag out"
        )
    return model


def _config(model: str, options: ModelOptions) -> dict[str, Any] | None:
    """A model's configuration with the activation that the options force; None where it cannot be had."""
    found = model_config(model)
    return found and {**found, "quick_gelu": options.quick_gelu or bool(found.get("quick_gelu", False))}


def refuse_other_activation(model: str, checkpoint: str | None, flag: str = "--pretrained") -> None:
    """Refuse a run's checkpoint under the name of a model with another activation than the run's.

    Args:
        model: what `--model` says.
        checkpoint: a file, or a tag, of which nothing is recorded.
        flag: the option that named it, for messages.

    Raises:
        UsageError: the activations differ.
        DataError: the run's record is damaged.
    """
    found = other_activation(model, checkpoint, flag=flag)
    if found:
        raise UsageError(f"{found}; name the run's folder in place of --model and {flag}")
