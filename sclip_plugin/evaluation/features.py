"""Features of an evaluation set's images and of texts, in batches.

Legend: N images, M texts, D embedding width.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.sets import EvaluationSet, Samples

PURE = {"fp16": torch.float16, "bf16": torch.bfloat16, "pure_fp16": torch.float16, "pure_bf16": torch.bfloat16}
MIXED = {"amp": torch.float16, "amp_bf16": torch.bfloat16, "amp_bfloat16": torch.bfloat16}
PRECISIONS = ("fp32", *MIXED, *PURE)


class Encoder:
    """A model's two towers as functions to L2-normalised float32 features on its device.

    Args:
        model: any open_clip model; a wrapper with `.module` is unwrapped. Put it into eval mode (`evaluating`) first.
        tokenizer: texts → tokens.
        device: where the model is.
        precision: one of `PRECISIONS`, as open_clip's `--precision`.
    """

    def __init__(self, model, tokenizer, device="cpu", precision: str = "fp32"):
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
        self.model = getattr(model, "module", model)
        self.tokenizer, self.device, self.precision = tokenizer, torch.device(device), precision

    def scale(self) -> float:
        """s = exp(logit_scale)."""
        return self.model.logit_scale.detach().float().exp().item()

    def _autocast(self):
        dtype = MIXED.get(self.precision)
        return torch.autocast(self.device.type, dtype=dtype) if dtype else nullcontext()

    @torch.inference_mode()
    def images(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, D)."""
        pixels = pixels.to(self.device, dtype=PURE.get(self.precision), non_blocking=True)
        with self._autocast():
            return F.normalize(self.model.encode_image(pixels).float(), dim=-1)

    @torch.inference_mode()
    def texts(self, texts: list[str]) -> Tensor:
        """M texts → (M, D)."""
        tokens = self.tokenizer(texts).to(self.device)
        with self._autocast():
            return F.normalize(self.model.encode_text(tokens).float(), dim=-1)


@contextmanager
def evaluating(model):
    """The model in eval mode; afterwards as it was, module by module."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield model
    finally:
        for module, training in before.items():
            module.training = training


def image_batches(
    encoder: Encoder, found: EvaluationSet, preprocess, batch_size: int, workers: int, counts: Counter
) -> Iterator[tuple[Tensor, list]]:
    """Yield (features (N, D), the N answers) over a set.

    Skipped samples are counted by reason in `counts`, logged at the end; `counts["images"]` counts the others.

    Raises:
        DataError: no sample of the set can be used.
    """
    loader = DataLoader(Samples(found, preprocess), batch_size=batch_size, num_workers=workers, collate_fn=list)
    skipped: Counter = Counter()
    for items in tqdm(loader, desc=found.folder.name, unit="batch", disable=None, leave=False):
        good = [item for item in items if item[0] is not None]
        skipped.update(reason for pixels, reason in items if pixels is None)
        if good:
            counts["images"] += len(good)
            yield encoder.images(torch.stack([pixels for pixels, _ in good])), [answer for _, answer in good]
    listed = ", ".join(f"{reason} × {number}" for reason, number in sorted(skipped.items()))
    if not counts["images"]:
        raise DataError(f"evaluation set {found.folder}: no usable sample ({listed or 'the shards are empty'})")
    if skipped:
        logging.warning("evaluation set %s: skipped samples: %s", found.folder, listed)
    counts.update({f"skipped: {reason}": number for reason, number in skipped.items()})
