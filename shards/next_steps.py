"""The commands that come after a conversion, as a shell takes them: keywords, training, evaluation."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sclip_plugin.shards import layout

# open_clip builds ViT-B-32 with GELU, but OpenAI's weights were trained with QuickGELU
START_MODEL: Final = ("--model", "ViT-B-32-quickgelu", "--pretrained", "openai")
BATCH_SIZE: Final = 64  # pairs per GPU at most; ours
EPOCHS: Final = 25  # the paper's, as learning rate and warm-up
SCHEDULE: Final = ("--lr", "5e-5", "--warmup", "10", "--epochs", str(EPOCHS))
CPU: Final = ("--device", "cpu", "--precision", "fp32")

# device files of a driver: NVIDIA's, AMD's, and that of Linux inside Windows
_GPU_FILES = ("nvidia[0-9]*", "kfd", "dxg")


def gpu_count() -> int:
    """How many GPUs torch can use. It takes seconds to import, so it is asked only where a driver's files are there."""
    if "torch" not in sys.modules and not any(any(Path("/dev").glob(name)) for name in _GPU_FILES):
        return 0
    import torch

    return torch.cuda.device_count()


def training_steps(root: Path, images: Mapping[str, int], shards: Mapping[str, int]) -> list[str]:
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
    if not images.get(layout.UNPAIRED):
        return ["no unpaired images, which --loss sclip needs: add --unpaired-images DIR, or lower --paired-ratio"]
    patterns = {kind: layout.pattern(str(root / kind), shards[kind]) for kind in (layout.PAIRED, layout.UNPAIRED)}
    keywords, val = str(root / "keywords.txt"), root / layout.VAL
    gpus = gpu_count()
    processes = min(max(1, gpus), pairs)
    lines = [
        _command(["sclip", "keywords", str(root / layout.PAIRED), "--out", keywords]),
        _command(
            ["torchrun", "--nproc-per-node", str(processes), "-m", "--", "open_clip_train.main", "--loss", "sclip"],
            ["--train-data", patterns[layout.PAIRED], "--unpaired-data", patterns[layout.UNPAIRED]],
            ["--val-data", str(val)] if images.get(layout.VAL) else [],
            ["--keywords", keywords, "--batch-size", str(_batch_size(pairs // processes))],
            [*START_MODEL, *SCHEDULE],
            [] if gpus else CPU,
        ),
    ]
    if images.get(layout.VAL):
        tuned = [*START_MODEL[:2], "--pretrained", f"logs/RUN/checkpoints/epoch_{EPOCHS}.pt"]
        lines.append("# RUN stands for the folder that training makes in logs/")
        lines.append(_command(["sclip", "eval", *tuned, "--retrieval", f"val={val}"]))
    return lines


def evaluation_steps(root: Path, name: str) -> list[str]:
    """The command for a classification set of this name: the start model on it."""
    return [
        "# of a model that you have tuned: --pretrained logs/RUN/checkpoints/epoch_N.pt",
        _command(["sclip", "eval", *START_MODEL, "--zeroshot", f"{name}={root}"]),
    ]


def _batch_size(pairs: int) -> int:
    """The largest power of two that is neither above `BATCH_SIZE` nor above the pairs that one GPU has."""
    return min(BATCH_SIZE, 1 << (pairs.bit_length() - 1))


def _command(*lines: Sequence[str]) -> str:
    """The words of a command, quoted; each of the lines that has words is a line of it."""
    return " \\\n    ".join(shlex.join(line) for line in lines if line)
