"""The commands that come after a conversion, as a shell takes them: keywords, training, evaluation."""

import math
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sclip_plugin.shards import layout
from sclip_plugin.storage.location import Location

# open_clip builds ViT-B-32 with GELU, but OpenAI's weights were trained with QuickGELU
START_MODEL: Final = ("--model", "ViT-B-32-quickgelu", "--pretrained", "openai")
TRAINING: Final = "open_clip_train.main"
BATCH_SIZE: Final = 64  # pairs per GPU at most; ours
LEARNING_RATE: Final = 5e-5  # the paper's, with 128 pairs a step; kept from 64 on
EPOCHS: Final = 25  # the paper's
STEPS: Final = (200, 10_000)  # at least and at most, where the paper's epochs would give fewer or more; ours
MOST_EPOCHS, FEWEST_EPOCHS = 100, 3  # ours; a small set is learned by heart long before
WARMUP: Final = (1 / 20, 100)  # share of the steps, and steps at most; 10 of 200 steps, the paper's number
MOST_WORKERS: Final = 4  # processes that read data, for each GPU; open_clip's
KEPT: Final = 5  # checkpoints of a run at most, of which each is three times the size of the model; ours
CPU: Final = ("--device", "cpu", "--precision", "fp32")

# device files of a driver: NVIDIA's, AMD's, and that of Linux inside Windows
_GPU_FILES = ("nvidia[0-9]*", "kfd", "dxg")
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")  # what a run's name leaves out, for the shell's and the host's sake


def gpu_count() -> int:
    """How many GPUs torch can use. It takes seconds to import, so it is asked only where a driver's files are there."""
    if "torch" not in sys.modules and not any(any(Path("/dev").glob(name)) for name in _GPU_FILES):
        return 0
    import torch

    return torch.cuda.device_count()


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a training set is trained on.

    Attributes:
        batch_size: pairs per process.
        lr: the learning rate.
        warmup: steps until it is reached.
        epochs: passes over the pairs.
    """

    batch_size: int
    lr: float
    warmup: int
    epochs: int

    @classmethod
    def of(cls, pairs: int, processes: int, batch_size: int | None = None, epochs: int | None = None) -> "Schedule":
        """The paper's schedule, fitted to a number of pairs.

        Args:
            pairs: in the training set, at least `processes`.
            processes: that train, one for each GPU.
            batch_size: pairs per process, where the user says so.
            epochs: passes over the pairs, where the user says so.
        """
        batch_size = batch_size or _power_of_two(min(BATCH_SIZE, pairs // processes))
        steps = math.ceil(pairs / (batch_size * processes))  # per epoch
        fewest, most = (math.ceil(STEPS[0] / steps), max(FEWEST_EPOCHS, STEPS[1] // steps))
        epochs = epochs or min(max(EPOCHS, min(fewest, MOST_EPOCHS)), most)
        share, longest = WARMUP
        warmup = max(1, min(int(share * steps * epochs), longest))
        # the square root is the usual rule for Adam (ours here)
        lr = LEARNING_RATE * min(1, math.sqrt(batch_size * processes / BATCH_SIZE))
        return cls(batch_size, lr, warmup, epochs)

    @property
    def rate(self) -> str:
        """The learning rate as a flag's value, in two digits."""
        return f"{self.lr:.1e}".replace("e-0", "e-").replace(".0e", "e")

    def words(self) -> tuple[list[str], list[str]]:
        """The flags of open_clip's training command: those of the batch, and those of the schedule."""
        every = math.ceil(self.epochs / KEPT)
        return (
            ["--batch-size", str(self.batch_size)],
            [
                "--lr",
                self.rate,
                "--warmup",
                str(self.warmup),
                "--epochs",
                str(self.epochs),
                "--save-frequency",
                str(every),
            ],
        )


def training_steps(root: Location, images: Mapping[str, int], shards: Mapping[str, int]) -> list[str]:
    """The commands for a training set, or one line that says what it lacks for training.

    Args:
        root: folder of the set.
        images: {part: images}.
        shards: {part: shards}.

    Returns:
        Lines for a shell; an explanation stands in a comment.
    """
    pairs = images.get(layout.PAIRED, 0)
    if not pairs:
        return ["no captions, so no pairs: add them to another set with --unpaired-data"]
    gpus, val = gpu_count(), root / layout.VAL
    processes = min(max(1, gpus), pairs)
    schedule = Schedule.of(pairs, processes)
    paired = ["--train-data", layout.pattern(str(root / layout.PAIRED), shards[layout.PAIRED])]
    evaluated = ["--val-data", str(val)] if images.get(layout.VAL) else []
    batch, rates = schedule.words()
    common = ([*START_MODEL, *batch, "--workers", str(loader_workers(processes, gpus))], rates)

    def training(loss: str, data: Sequence[str], more: Sequence[str] = ()) -> str:
        report = ["--report-to", "tensorboard", "--name", run_name(root, loss), *([] if gpus else CPU)]
        return _command([*_launcher(processes), "--loss", loss], [*data, *evaluated], more, *common, report)

    supervised = training("clip", paired)
    if not images.get(layout.UNPAIRED):
        lacking = "no unpaired images, which --loss sclip needs: add --unpaired-images DIR, or lower --paired-ratio"
        return [f"# {lacking}", "# supervised fine-tuning, the baseline:", supervised]
    unpaired = ["--unpaired-data", layout.pattern(str(root / layout.UNPAIRED), shards[layout.UNPAIRED])]
    keywords = str(root / "keywords.txt")
    lines = [
        _command(["sclip", "keywords", str(root / layout.PAIRED), "--out", keywords]),
        training("sclip", [*paired, *unpaired], ["--keywords", keywords]),
        "# the supervised baseline, on the same pairs (watch both: tensorboard --logdir logs):",
        supervised,
    ]
    if evaluated:
        lines.append("# the trained model; 95% intervals by the images:")
        sets = ["--retrieval", f"val={val}", "--bootstrap", "1000"]
        lines += [_command(["sclip", "eval", f"logs/{run_name(root, loss)}", *sets]) for loss in ("sclip", "clip")]
    return lines


def run_name(root: Location, loss: str) -> str:
    """The name of the run that trains on a set, and of its folder in `logs/`: `shards-sclip`, `shards-supervised`."""
    what = {"clip": "supervised"}.get(loss, loss)
    return f"{_NO_NAME.sub('-', Path(os.path.abspath(str(root))).name).strip('-') or 'run'}-{what}"


def _launcher(processes: int) -> list[str]:
    """One process needs no torchrun; some torchruns need the `--`, or they take open_clip's --logs for theirs."""
    if processes == 1:
        return ["python", "-m", TRAINING]
    return ["torchrun", "--nproc-per-node", str(processes), "-m", "--", TRAINING]


def loader_workers(processes: int, gpus: int) -> int:
    """Processes that read data, for each that trains; without a GPU half of the cores are left to the training."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_WORKERS, cores // (processes if gpus else 2)))


def evaluation_steps(root: Location, name: str) -> list[str]:
    """The command for a classification set of this name: the start model on it."""
    return [
        "# of a model that you have tuned: the run's folder, logs/RUN, in place of --model and --pretrained",
        _command(["sclip", "eval", *START_MODEL, "--zeroshot", f"{name}={root}"]),
    ]


def _power_of_two(number: int) -> int:
    """The largest one that is not above the number, which is at least 1."""
    return 1 << (number.bit_length() - 1)


def _command(*lines: Sequence[str]) -> str:
    """The words of a command, quoted; each of the lines that has words is a line of it."""
    return " \\\n    ".join(shlex.join(line) for line in lines if line)
