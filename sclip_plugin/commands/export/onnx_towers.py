"""Both towers of a model as ONNX, compared with torch on random input by onnxruntime.

Inputs and outputs: `image` (N, 3, H, W), prepared as the folder's preprocessing says, and `text` (N, L), tokens; each
gives `features` (N, D) in float32, of length 1, so that a product of them is a cosine. N is free. Importing this module
imports nothing heavy.
"""

import contextlib
import importlib
import inspect
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tqdm import tqdm

from sclip_plugin.commands.export.staging import ONNX_FILES
from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.evaluation.models import Tokenizer

if TYPE_CHECKING:
    import torch
    from torch import nn

IMAGE, TEXT = "image", "text"
PACKAGES: Final = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE: Final = 1e-4  # of any feature, whose vector has length 1; ours, about a hundred times what fp32 loses
LARGEST: Final = 2 * 1024**3 - 1  # bytes of a file, a limit of the format
TRACED, COMPARED = 2, 3  # inputs in a batch: two numbers, so that a batch size that got stuck is seen


def check_onnx() -> None:
    """Refuse `--onnx` where a package is missing.

    Raises:
        UsageError: one is; the message says what to install.
    """
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError:
            raise UsageError(f"--onnx needs {name}: pip install 'sclip-plugin[onnx]'") from None


def write_towers(folder: Path, model: "nn.Module", tokenizer: Tokenizer) -> list[str]:
    """Write `image_tower.onnx` and `text_tower.onnx`.

    Args:
        folder: where.
        model: an open_clip model in fp32 and eval mode, on the CPU.
        tokenizer: its tokenizer.

    Returns:
        For each a line that says how far its features are from torch's.

    Raises:
        DataError: torch cannot express a tower in ONNX, it has too many weights for the format, or its features are
            further than `TOLERANCE` off.
    """
    import torch

    from sclip_plugin.commands.export.model_folder import random_images

    length = tokenizer(["a"]).shape[1]
    inputs = {IMAGE: random_images(model, COMPARED), TEXT: _random_tokens(tokenizer, length)}
    lines = []
    for (kind, batch), name in tqdm(list(zip(inputs.items(), ONNX_FILES)), desc="ONNX", unit="tower", disable=None):
        tower = _tower(model, kind).eval()
        _check_size(model, kind)
        with torch.no_grad(), _quiet():
            _export(tower, batch[:TRACED], kind, folder / name)
            expected = tower(batch)
        off = _difference(folder / name, kind, batch, expected)
        if not off <= TOLERANCE:
            raise DataError(
                f"--onnx: the {kind} tower is {off:.1e} from torch's numbers; at most {TOLERANCE:g} is right"
            )
        lines.append(f"{name}: at most {off:.1e} from torch's features on {COMPARED} random inputs")
    return lines


def _tower(model: "nn.Module", kind: str) -> "nn.Module":
    """One tower as a module of its own, normalised."""
    from torch import nn

    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, batch: "torch.Tensor") -> "torch.Tensor":
            towers: Any = self.model
            encode = towers.encode_image if kind == IMAGE else towers.encode_text
            return encode(batch, normalize=True)

    return Tower()


def _random_tokens(tokenizer: Tokenizer, length: int) -> "torch.Tensor":
    """Tokens of random words, (COMPARED, length), which begin and end as the tokenizer makes texts do."""
    import random

    draw = random.Random(0)
    words = ["".join(chr(97 + draw.randrange(26)) for _ in range(4)) for _ in range(length)]
    texts = [" ".join(draw.sample(words, 1 + number * max(1, length // 4))) for number in range(COMPARED)]
    return tokenizer(texts)


def _check_size(model: "nn.Module", kind: str) -> None:
    own = [one for name, one in model.state_dict().items() if name.startswith("visual.") == (kind == IMAGE)]
    size = sum(tensor.numel() * tensor.element_size() for tensor in own)
    if size > LARGEST:
        raise DataError(
            f"--onnx: the {kind} tower has {size / 1e9:.1f} GB of weights; a file of this format holds 2 GB"
        )


def _export(tower: "nn.Module", batch: "torch.Tensor", kind: str, path: Path) -> None:
    """Write one tower with the exporter that this torch takes by itself, the batch size free."""
    import torch

    known = inspect.signature(torch.onnx.export).parameters
    if "dynamo" in known and known["dynamo"].default is True:
        options = {"dynamic_shapes": {"batch": {0: torch.export.Dim("batch")}}, "external_data": False}
    else:
        options = {"dynamic_axes": {kind: {0: "N"}, "features": {0: "N"}}}
    export: Callable[..., object] = torch.onnx.export
    try:
        export(tower, (batch,), str(path), input_names=[kind], output_names=["features"], **options)
    except RuntimeError as error:  # torch.onnx's errors derive from it
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"--onnx: torch cannot express the {kind} tower: {reason}") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and its warnings about itself from the terminal; errors still come through."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _difference(path: Path, kind: str, batch: "torch.Tensor", expected: "torch.Tensor") -> float:
    """The largest difference between the features of the file and torch's."""
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {kind: batch.numpy()})
    return float((torch.from_numpy(found) - expected).abs().max())
