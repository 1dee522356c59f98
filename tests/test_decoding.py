"""One rule for decoding images: training, evaluation, inspection and conversion judge the same files alike."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sclip_plugin.data.config import MixedConfig
from sclip_plugin.data.mixed import MixedLoader
from sclip_plugin.data.shard_list import ShardSet, expand
from sclip_plugin.decoding import BOMB, EMPTY, UNDECODABLE, ImageFault, decode_rgb
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.names import CLASSIFICATION
from sclip_plugin.evaluation.sets import Samples, class_of, open_set
from sclip_plugin.inspection.pictures import read_pictures
from sclip_plugin.shards.images import Transform, inspect
from sclip_plugin.shards.locator import FileImage
from tests.helpers.shards import write_tar

USABLE = ""


def encoded(picture: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def colours(seed: int = 0) -> Image.Image:
    """24 × 18 pixels that differ."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (18, 24, 3), dtype=np.uint8))


def files() -> dict[str, tuple[bytes, str]]:
    """Each file's bytes, and why it is refused (`USABLE`: it is not)."""
    photograph = encoded(colours(), "JPEG", quality=95)
    # One bit a pixel, all black. 96 million pixels are above PIL's limit of 89, where PIL warns, and below twice that
    # limit, where PIL refuses.
    large = encoded(Image.new("1", (16_000, 6_000)), "PNG", compress_level=1)
    return {
        "JPEG": (photograph, USABLE),
        "CMYK JPEG": (encoded(colours().convert("CMYK"), "JPEG"), USABLE),
        "palette PNG": (encoded(colours().quantize(16), "PNG"), USABLE),
        "grey PNG": (encoded(colours().convert("L"), "PNG"), USABLE),
        "96 megapixels": (large, BOMB),
        "EPS": (encoded(colours(), "EPS"), UNDECODABLE),
        "truncated JPEG": (photograph[: len(photograph) // 2], UNDECODABLE),
        "header of a JPEG": (photograph[:20], UNDECODABLE),
        "text": (b"no image at all", UNDECODABLE),
        "empty file": (b"", EMPTY),
    }


# PIL warns of what is refused here. Programs silence it when they import `sclip_plugin.decoding`, pytest does not.
pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
FILES = files()
each_file = pytest.mark.parametrize(("data", "fault"), FILES.values(), ids=list(FILES))


def by_training(data: bytes, folder: Path) -> tuple[str, list[Image.Image]]:
    """Why a training epoch skips the image, and the images that its transform gets."""
    plain = encoded(Image.new("RGB", (2, 2)), "PNG")
    write_tar(folder / "paired" / "0.tar", [("p.png", plain), ("p.txt", b"a caption")])
    write_tar(folder / "unpaired" / "0.tar", [("a.png", data), ("b.png", plain)])
    paired = ShardSet(expand(str(folder / "paired"), "--train-data"), np.array([1]))
    unpaired = ShardSet(expand(str(folder / "unpaired"), "--unpaired-data"), np.array([2]))
    seen: list[Image.Image] = []

    def transform(image: Image.Image) -> torch.Tensor:
        seen.append(image)
        return torch.zeros(3, 2, 2)

    config = MixedConfig(paired, unpaired, batch_size=1, unpaired_batch_size=2)
    loader = MixedLoader(config, transform, lambda texts: torch.zeros(len(texts), 3))
    assert len(list(loader)) == 1
    skipped = [key for key in loader.counts if key.startswith("unpaired: ") and not key.endswith(": read")]
    assert len(skipped) < 2
    reason = skipped[0].removeprefix("unpaired: ") if skipped else USABLE
    return reason, [image for image in seen if image.size != (2, 2)]


def by_evaluation(data: bytes, folder: Path) -> tuple[str, list[Image.Image]]:
    """Why an evaluation set's reader skips the image, and the images that the transform gets."""
    write_tar(folder / "test" / "0.tar", [("a.png", data), ("a.cls", b"0")])
    for name, text in {"test/nshards.txt": "1", "classnames.txt": "tree"}.items():
        (folder / name).write_text(text)
    (folder / "zeroshot_classification_templates.txt").write_text("a {c}")
    (item,) = Samples(open_set(folder, CLASSIFICATION), lambda image: image, class_of)
    return (item, []) if isinstance(item, str) else (USABLE, [item[0]])


def by_inspection(data: bytes, folder: Path) -> tuple[str, list[Image.Image]]:
    """Why `sclip inspect` and a run's panel pass over the image, and what they show."""
    write_tar(folder / "0.tar", [("a.png", data)])
    try:
        return USABLE, [picture.open() for picture in read_pictures(expand(str(folder), "--x"), 1, paired=False)]
    except DataError as error:
        return re.fullmatch(r"--x: no usable sample in 1 shards; found 1 × (.+)", str(error))[1], []


def by_conversion(data: bytes, folder: Path) -> tuple[str, list[Image.Image]]:
    """Why `sclip convert` skips the image; it shows no pixels."""
    folder.mkdir()
    (folder / "a.png").write_bytes(data)
    return inspect(FileImage(str(folder / "a.png")), Transform(), check=True).fault, []


@each_file
def test_every_reader_gives_the_same_verdict(data, fault, tmp_path):
    judges = (by_training, by_evaluation, by_inspection, by_conversion)
    verdicts = {judge.__name__: judge(data, tmp_path / judge.__name__)[0] for judge in judges}
    assert verdicts == dict.fromkeys(verdicts, fault)


@pytest.mark.parametrize("name", [name for name, (_, fault) in FILES.items() if fault == USABLE])
def test_every_reader_gives_the_pixels_that_pil_gives(name, tmp_path):
    data, _ = FILES[name]
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    for judge in (by_training, by_evaluation, by_inspection):
        _, images = judge(data, tmp_path / judge.__name__)
        assert images, judge.__name__
        for image in images:
            assert image.mode == "RGB"
            assert np.array_equal(np.asarray(image), expected), judge.__name__


def test_the_limit_is_pils_and_can_be_moved(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 18)
    assert decode_rgb(encoded(colours(), "PNG")).size == (24, 18)
    larger = encoded(Image.new("RGB", (24, 19)), "PNG")
    with pytest.raises(ImageFault, match=BOMB):
        decode_rgb(larger)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert decode_rgb(larger).size == (24, 19)
