"""Features of an evaluation set's images and of texts, in batches.

Legend: N images, M texts, D embedding width.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from sclip_plugin.data.workers import leave_interrupts_to_the_main_process
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.models import Tokenizer
from sclip_plugin.evaluation.names import PRECISIONS
from sclip_plugin.evaluation.sets import Samples

T = TypeVar("T")

# What each precision of `PRECISIONS` but fp32 means for the pixels, and for autocast.
_PURE = {"fp16": torch.float16, "bf16": torch.bfloat16, "pure_fp16": torch.float16, "pure_bf16": torch.bfloat16}
_MIXED = {"amp": torch.float16, "amp_bf16": torch.bfloat16, "amp_bfloat16": torch.bfloat16}


class _Towers(Protocol):
    """The part of open_clip's models that is used here."""

    logit_scale: Tensor

    def encode_image(self, image: Tensor) -> Tensor: ...

    def encode_text(self, text: Tensor) -> Tensor: ...


class Encoder:
    """A model's two towers as functions to L2-normalised float32 features on its device.

    Args:
        model: any open_clip model; a wrapper with `.module` is unwrapped. Put it into eval mode (`evaluating`) first.
        tokenizer: texts → tokens.
        device: where the model is.
        precision: one of `names.PRECISIONS`, as open_clip's `--precision`.

    Raises:
        ValueError: another precision.
    """

    def __init__(
        self, model: nn.Module, tokenizer: Tokenizer, device: str | torch.device = "cpu", precision: str = "fp32"
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
        self.model: nn.Module = getattr(model, "module", model)
        self.tokenizer, self.device, self.precision = tokenizer, torch.device(device), precision
        self._towers = cast(_Towers, self.model)

    def scale(self) -> Tensor:
        """s = exp(logit_scale), a one-element float32 tensor without gradient."""
        return self._towers.logit_scale.detach().float().exp()

    def _autocast(self) -> AbstractContextManager[object]:
        dtype = _MIXED.get(self.precision)
        return torch.autocast(self.device.type, dtype=dtype) if dtype else nullcontext()

    @torch.inference_mode()
    def images(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, D)."""
        pixels = pixels.to(self.device, dtype=_PURE.get(self.precision), non_blocking=True)
        with self._autocast():
            return F.normalize(self._towers.encode_image(pixels).float(), dim=-1)

    @torch.inference_mode()
    def texts(self, texts: list[str]) -> Tensor:
        """M texts → (M, D)."""
        tokens = self.tokenizer(texts).to(self.device)
        with self._autocast():
            return F.normalize(self._towers.encode_text(tokens).float(), dim=-1)

    def texts_in_batches(self, texts: list[str], batch_size: int) -> Tensor:
        """M texts → (M, D), at most `batch_size` in a forward pass; M ≥ 1."""
        return torch.cat([self.texts(texts[first : first + batch_size]) for first in range(0, len(texts), batch_size)])


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """The model in eval mode; afterwards it is as it was, module by module."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield model
    finally:
        for module, training in before.items():
            module.training = training


def image_batches(
    encoder: Encoder, samples: Samples[T], batch_size: int, workers: int, counts: Counter[str]
) -> Iterator[tuple[Tensor, list[T]]]:
    """Yield (features (N, D), the N answers) over a set.

    Samples that cannot be used are skipped, and logged at the end.

    Args:
        encoder: gives the features.
        samples: the set's.
        batch_size: images in a forward pass, at most.
        workers: processes that decode images (0: this one).
        counts: `images` is raised by the number of images used, `skipped: REASON` by the number skipped.

    Raises:
        DataError: no sample of the set can be used, or the set itself is at fault.
    """
    folder = samples.set.folder
    loader = DataLoader(
        samples,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=leave_interrupts_to_the_main_process,
    )
    skipped: Counter[str] = Counter()
    for items in tqdm(loader, desc=folder.name, unit="batch", disable=None, leave=False):
        for item in items:
            if isinstance(item, DataError):
                raise item
        good = [item for item in items if isinstance(item, tuple)]
        skipped.update(item for item in items if isinstance(item, str))
        if good:
            counts["images"] += len(good)
            yield encoder.images(torch.stack([pixels for pixels, _ in good])), [answer for _, answer in good]
    listed = ", ".join(f"{reason} × {number}" for reason, number in sorted(skipped.items()))
    if not counts["images"]:
        raise DataError(f"evaluation set {folder}: no usable sample ({listed or 'the shards are empty'})")
    if skipped:
        logging.warning("evaluation set %s: skipped samples: %s", folder, listed)
    counts.update({f"skipped: {reason}": number for reason, number in skipped.items()})


def encoded_batches(
    encoder: Encoder, loaded: Iterable[tuple[Tensor, T] | str], batch_size: int, skipped: Counter[str]
) -> Iterator[tuple[Tensor, list[T]]]:
    """Yield (features (N, D) on the CPU, what belongs to the N images) over images that are loaded already.

    Args:
        encoder: gives the features.
        loaded: (pixels (3, H, W), what belongs to the image), or the reason why a sample cannot be used.
        batch_size: images in a forward pass; the last one may have fewer.
        skipped: the reasons are counted here.
    """
    waiting: list[tuple[Tensor, T]] = []

    def encoded() -> tuple[Tensor, list[T]]:
        return encoder.images(torch.stack([pixels for pixels, _ in waiting])).cpu(), [kept for _, kept in waiting]

    for one in loaded:
        if isinstance(one, str):
            skipped[one] += 1
            continue
        waiting.append(one)
        if len(waiting) == batch_size:
            yield encoded()
            waiting = []
    if waiting:
        yield encoded()
