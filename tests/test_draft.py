"""`--sclip-draft-jpeg`: large JPEGs at a fraction of their size, everything else untouched."""

import io

import numpy as np
import pytest
import torch
from conftest import picture, run_training, train_arguments, write_tar
from open_clip.transform import image_transform
from PIL import Image
from test_training import losses

from sclip_plugin.data.stream import decode_image, draft_side
from sclip_plugin.errors import UsageError


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
    assert decode_image({"jpg": jpeg(*source)}, size, draft) == expected


def test_other_formats_are_decoded_whole():
    assert decode_image({"png": picture(0, 64)}, size, 8) == (64, 64)


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
        outputs.append(decode_image({"jpg": jpeg(768, 768)}, transform, draft))
    gap = (outputs[0] - outputs[1]).abs()
    assert gap.max() > 0
    assert gap.mean() < 0.02  # of pixels whose standard deviation is about 1


def test_training_with_drafts_sees_other_pixels(shards, tiny_model, tmp_path):
    large = [member for i in range(16) for member in [(f"{i}.jpg", jpeg(400, 300)), (f"{i}.txt", b"a tree")]]
    write_tar(tmp_path / "paired" / "0.tar", large)
    curves = []
    for draft in (None, True):
        flags = {"train_data": tmp_path / "paired", "sclip_draft_jpeg": draft}
        run = run_training(train_arguments(shards, tiny_model, tmp_path / str(draft), **flags))
        assert run.returncode == 0, run.stdout[-3000:]
        curves.append(losses(run.stdout))
    assert curves[0] != curves[1]
