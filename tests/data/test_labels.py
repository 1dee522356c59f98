"""Labels that go with a batch are those of its very samples, whatever worker read them and whatever was skipped."""

import numpy as np
import pytest
import torch

from sclip_plugin.data.config import MixedConfig
from sclip_plugin.data.labels import ImageLabels
from sclip_plugin.data.mixed import MixedLoader
from sclip_plugin.data.shard_list import ShardSet, expand
from tests.helpers.shards import write_tar


def numbered(number: int) -> bytes:
    """A PNG of one colour, which is its number."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (number, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def to_number(image) -> torch.Tensor:
    return torch.full((3, 1, 1), float(np.asarray(image)[0, 0, 0]))


def to_tokens(texts: list[str]) -> torch.Tensor:
    return torch.tensor([[int(text.split()[-1])] for text in texts])


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> MixedConfig:
    """20 pairs in 3 shards and 31 unpaired images in 4; some of each cannot be used. Sample i shows and says i."""
    root = tmp_path_factory.mktemp("labels")
    for name, count, shards in (("paired", 20, 3), ("unpaired", 31, 4)):
        for shard, numbers in enumerate(np.array_split(np.arange(count), shards)):
            members = []
            for i in numbers.tolist():
                members.append((f"{i:03d}.png", b"broken" if i % 9 == 4 else numbered(i)))
                if name == "paired":
                    members.append((f"{i:03d}.txt", f"number {i}".encode()))
            write_tar(root / name / f"{shard:06d}.tar", members)
    paired = ShardSet.of(expand(str(root / "paired"), "--train-data"))
    unpaired = ShardSet.of(expand(str(root / "unpaired"), "--unpaired-data"))
    return MixedConfig(paired, unpaired, batch_size=4, unpaired_batch_size=6)


LABELS = ImageLabels(
    nearest=(np.arange(31)[:, None] + np.array([0, 100])).astype(np.int32),
    weights=(np.arange(31)[:, None] / np.array([100, 200])).astype(np.float32),
)


@pytest.mark.parametrize("workers", [0, 2])
def test_each_sample_has_its_own(workers, config):
    loader = MixedLoader(config, to_number, to_tokens, labels=LABELS, workers=workers)
    seen = 0
    for epoch in range(2):
        loader.shared_epoch.set_value(epoch)
        for images, texts in loader:
            shown = images.pixels[4:, 0, 0, 0].long()
            assert texts.rows.tolist() == texts.tokens[:, 0].tolist() == images.pixels[:4, 0, 0, 0].tolist()
            assert texts.nearest.tolist() == [[number, number + 100] for number in shown.tolist()]
            assert texts.weights == pytest.approx(np.stack([shown / 100, shown / 200], axis=1))
            seen += len(shown)
    assert seen == 2 * 5 * 6
    assert loader.counts["unpaired: undecodable image"] > 0


def test_they_move_with_the_batch(config):
    _, texts = next(iter(MixedLoader(config, to_number, to_tokens, labels=LABELS)))
    moved = texts.to(device="meta")
    assert [one.device.type for one in (moved.rows, moved.nearest, moved.weights)] == ["meta"] * 3
    _, bare = next(iter(MixedLoader(config, to_number, to_tokens)))
    assert bare.rows is None
    assert bare.to(device="meta").nearest is None


def test_labels_of_another_set_are_refused(config):
    with pytest.raises(ValueError, match="labels of 30 images do not fit a set of 31"):
        MixedLoader(config, to_number, to_tokens, labels=ImageLabels(LABELS.nearest[:30], LABELS.weights[:30]))
