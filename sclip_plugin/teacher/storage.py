"""The start model's labels as a file: a run that is resumed has no start model any more."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np

from sclip_plugin.atomic import write_atomic
from sclip_plugin.diagnostics.calibration import Calibration
from sclip_plugin.errors import DataError
from sclip_plugin.teacher.labels import StartLabels


def save_labels(labels: StartLabels, about: dict[str, object], path: Path) -> None:
    """Write labels.

    Args:
        labels: the labels.
        about: what they were made of; reading compares it.
        path: the file.

    Raises:
        DataError: it cannot be written.
    """
    line = labels.calibration
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        nearest=labels.nearest,
        weights=labels.weights,
        text=np.array(json.dumps({"about": about, "captions": labels.captions})),
        line=np.zeros((2, 0)) if line is None else np.stack([line.similarities, line.probabilities]),
    )
    write_atomic(path, buffer.getvalue())


def load_labels(path: Path, about: dict[str, object]) -> StartLabels:
    """Read labels.

    Args:
        path: the file.
        about: what they must have been made of.

    Raises:
        DataError: the file is missing or damaged, or the labels were made of something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            text = json.loads(str(file["text"]))
            line = file["line"]
            calibration = Calibration(line[0], line[1]) if line.shape[1] else None
            captions = [tuple(one) for one in text["captions"]]
            labels = StartLabels(file["nearest"], file["weights"], captions, calibration)
    except FileNotFoundError:
        raise DataError(f"{path}: not there; without the start model's labels the run cannot go on") from None
    except (OSError, ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged ({' '.join(str(error).split()) or type(error).__name__})") from None
    made = text["about"]
    for name, value in about.items():
        if made.get(name) != value:
            raise DataError(f"{path}: labels of another run: {name} is {made.get(name)}, now {value}")
    return labels
