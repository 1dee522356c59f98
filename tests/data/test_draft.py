"""`--sclip-draft-jpeg`: large JPEGs at a fraction of their size, everything else untouched."""

import io

import numpy as np
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image

from sclip_plugin.data.slot import Slot
from sclip_plugin.data.stream import Raw
from sclip_plugin.decoding import decode_rgb, draft_side
from sclip_plugin.errors import UsageError
from tests.helpers.shards import picture
from tests.helpers.training import train_arguments


def jpeg(width: int, height: int) -> bytes:
    """Smooth colours."""
    rng = np.random.default_rng(3)
    small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    small.resize((width, height), Image.BICUBIC).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def size(image):
    return image.size


@pytest.mark.parametrize(
    ("source", "draft", "expected"),
    [
        ((800, 600), None, (800, 600)),
        ((800, 600), 400, (800, 600)),  # half would have a side of 300
        ((800, 600), 300, (400, 300)),
        ((800, 600), 100, (200, 150)),
        ((800, 600), 10, (100, 75)),  # 1/8 is the least
    ],
)
def test_no_side_falls_below_the_draft(source, draft, expected):
    assert decode_rgb(jpeg(*source), draft).size == expected


def test_other_formats_are_decoded_whole():
    assert decode_rgb(picture(0, 64), 8).size == (64, 64)


def test_the_side_is_twice_the_smallest_crop():
    assert draft_side(image_transform(224, is_train=True)) == 473  # scale 0.9 … 1
    assert draft_side(image_transform((64, 32), is_train=True, aug_cfg={"scale": (0.25, 1.0)})) == 256
    with pytest.raises(UsageError, match="--sclip-draft-jpeg needs .* random resized crop"):
        draft_side(image_transform(224, is_train=False))


def test_pixels_differ_but_little():
    transform = image_transform(64, is_train=True, aug_cfg={"scale": (1.0, 1.0)})
    outputs = []
    for draft in (None, draft_side(transform)):
        torch.manual_seed(0)
        outputs.append(transform(decode_rgb(jpeg(768, 768), draft)))
    gap = (outputs[0] - outputs[1]).abs()
    assert gap.max() > 0
    assert gap.mean() < 0.02  # of pixels whose standard deviation is about 1


@pytest.mark.parametrize("flag", [False, True])
def test_the_flag_reaches_the_loader(flag, shards, tmp_path, tiny_model):
    """A 400 × 300 JPEG to crops of 64: half its size with the flag, whole without."""
    from sclip_plugin.host import openclip3

    parse(shards, tmp_path, tiny_model, sclip_draft_jpeg=flag or None)
    transform = image_transform(64, is_train=True)
    config = openclip3.sclip.run.build_loader(transform, None).config
    assert config.draft == (draft_side(transform) if flag else None)
    decoded = Slot(config, size, epoch=0, worker=0, workers=1)._decode_image(Raw((0, 0), {"jpg": jpeg(400, 300)}))
    assert decoded == ((200, 150) if flag else (400, 300))


def parse(shards, tmp_path, model, **flags):
    """Parse a training command as the host does."""
    import torch  # noqa: F401 (activates the plugin)
    from open_clip_train.params import parse_args

    return parse_args(train_arguments(shards, model, tmp_path, **flags))
