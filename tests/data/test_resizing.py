"""`--sclip-fast-resize`: the same crops as PIL's, to a value of 255."""

import numpy as np
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image
from torchvision.transforms import Compose, InterpolationMode, RandomResizedCrop

from sclip_plugin.data.resizing import FastResizedCrop, with_fast_resize
from sclip_plugin.errors import UsageError
from tests.data.test_draft import parse


def photograph(width: int, height: int) -> Image.Image:
    """Colours and grain."""
    rng = np.random.default_rng(5)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    grain = np.asarray(coarse, dtype=np.int16) + rng.normal(0, 9, (height, width, 1)).astype(np.int16)
    return Image.fromarray(grain.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("size", [(300, 200), (61, 90), (20, 15)])  # shrunk, nearly kept, enlarged
@pytest.mark.parametrize("interpolation", [InterpolationMode.BICUBIC, InterpolationMode.BILINEAR])
def test_the_same_crops_to_one_of_255(size, interpolation):
    step = RandomResizedCrop((64, 48), scale=(0.3, 1.0), interpolation=interpolation)
    found, states = [], []
    for crop in (step, with_fast_resize(Compose([step])).transforms[0]):
        torch.manual_seed(1)
        found.append(np.asarray(crop(photograph(*size)), dtype=np.int16))
        states.append(torch.get_rng_state())
    gap = np.abs(found[0] - found[1])
    assert found[0].shape == found[1].shape == (64, 48, 3)
    assert gap.max() <= 1
    assert gap.mean() < 0.1
    assert torch.equal(*states)  # so that what is drawn after it is the same too


def test_the_other_steps_stay():
    transform = image_transform(32, is_train=True)
    fast = with_fast_resize(transform)
    assert fast.transforms[1:] == transform.transforms[1:]
    assert isinstance(fast.transforms[0], FastResizedCrop)
    assert type(transform.transforms[0]) is RandomResizedCrop  # the host's own is as it was


@pytest.mark.parametrize(
    "transform",
    [
        image_transform(32, is_train=False),
        Compose([RandomResizedCrop(32, interpolation=InterpolationMode.NEAREST)]),
        Compose([RandomResizedCrop(32, antialias=False)]),
        str,
    ],
)
def test_other_transforms_are_refused(transform):
    with pytest.raises(UsageError, match="--sclip-fast-resize needs .* bicubic or bilinear random resized crop"):
        with_fast_resize(transform)


@pytest.mark.parametrize("flag", [False, True])
def test_the_flag_reaches_the_loader(flag, shards, tmp_path, tiny_model):
    from sclip_plugin.host import openclip3

    parse(shards, tmp_path, tiny_model, sclip_fast_resize=flag or None)
    loader = openclip3.sclip.run.build_loader(image_transform(64, is_train=True), None)
    assert isinstance(loader.dataset.transform.transforms[0], FastResizedCrop) == flag
