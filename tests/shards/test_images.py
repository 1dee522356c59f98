"""Images that open_clip would decode wrongly are re-encoded, and only those."""

import io

import numpy as np
import pytest
from PIL import Image

from sclip_plugin.shards.images import Transform, encode, inspect
from sclip_plugin.shards.locator import FileImage, SliceImage
from tests.helpers.conversion import check_counts, convert, image, members, picture, source


def save(picture: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def rotated(form: str) -> bytes:
    """20 wide and 30 high when upright; stored lying, red at what is the top."""
    pixels = np.zeros((20, 30, 3), dtype=np.uint8)
    pixels[:, :8] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to view
    return save(Image.fromarray(pixels), form, exif=exif)


def judged(path, data: bytes, transform=Transform()):  # noqa: B008
    path.write_bytes(data)
    verdict = inspect(FileImage(str(path)), transform)
    if not verdict.recode:
        return verdict.suffix, "", None
    return verdict.suffix, verdict.recode, Image.open(io.BytesIO(encode(data, verdict.suffix, transform)))


@pytest.mark.parametrize(
    ("form", "mode", "suffix"),
    [("JPEG", "RGB", "jpg"), ("JPEG", "L", "jpg"), ("PNG", "RGB", "png"), ("PNG", "L", "png"), ("WEBP", "RGB", "webp")],
)
def test_copied(tmp_path, form, mode, suffix):
    assert judged(tmp_path / "x.any", image(0, form, mode)) == (suffix, "", None)


def test_palette_and_upright_exif_are_copied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 1
    upright = save(Image.new("RGB", (4, 4)), "JPEG", exif=exif)
    palette = save(Image.open(io.BytesIO(image(1, "PNG"))).convert("P"), "PNG")
    assert judged(tmp_path / "x", upright) == ("jpg", "", None)
    assert judged(tmp_path / "x", palette) == ("png", "", None)


@pytest.mark.parametrize("form", ["TIFF", "BMP", "GIF", "PPM"])
def test_unknown_suffixes_become_png_with_the_same_pixels(tmp_path, form):
    original = image(3, form, "L" if form == "GIF" else "RGB")
    suffix, recode, after = judged(tmp_path / "x", original)
    assert (suffix, recode, after.format) == ("png", f"{form} format", "PNG")
    before = np.asarray(Image.open(io.BytesIO(original)).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(after.convert("RGB")), before)


def test_16_bits_are_scaled_not_saturated(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for form, reason in (("PNG", "16-bit"), ("TIFF", "TIFF format")):
        suffix, recode, after = judged(tmp_path / "x", save(Image.fromarray(ramp), form))
        assert (suffix, recode, after.mode) == ("png", reason, "L")
        np.testing.assert_array_equal(np.asarray(after).ravel(), np.arange(256))


def test_wider_types_are_stretched(tmp_path):
    data = save(Image.fromarray(np.array([[-1.0, 0.0], [1.0, 3.0]], dtype=np.float32)), "TIFF")
    _, _, after = judged(tmp_path / "x", data)
    assert np.asarray(after).tolist() == [[0, 64], [128, 255]]


@pytest.mark.parametrize(("form", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("WEBP", "RGBA")])
def test_alpha_is_composited_on_white(tmp_path, form, mode):
    clear = Image.new(mode, (4, 4), (0,) * len(mode))
    suffix, recode, after = judged(tmp_path / "x", save(clear, form, **({"exact": True} if form == "WEBP" else {})))
    assert (suffix, recode, after.mode) == ("png", "alpha", "RGB")
    assert np.asarray(after).min() == 255


def test_transparent_palette_is_composited(tmp_path):
    data = save(Image.new("P", (4, 4), 0), "PNG", transparency=0)
    _, recode, after = judged(tmp_path / "x", data)
    assert recode == "alpha"
    assert np.asarray(after).min() == 255


def test_cmyk_stays_jpeg(tmp_path):
    suffix, recode, after = judged(tmp_path / "x", image(0, "JPEG", "CMYK"))
    assert (suffix, recode, after.format, after.mode) == ("jpg", "CMYK", "JPEG", "RGB")


@pytest.mark.parametrize(("form", "suffix"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "png")])
def test_exif_rotation_is_applied(tmp_path, form, suffix):
    found, recode, after = judged(tmp_path / "x", rotated(form))
    assert (found, recode, after.size) == (suffix, "EXIF rotation", (20, 30))
    assert not after.getexif()
    red = np.asarray(after)[:, :, 0].mean(axis=1)
    assert red[0] > 200 > 50 > red[-1]


def test_quality_makes_everything_jpeg_and_resize_never_enlarges(tmp_path):
    suffix, recode, after = judged(tmp_path / "x", image(0, "PNG"), Transform(resize=10, quality=80))
    assert (suffix, recode, after.format, after.size) == ("jpg", "--resize", "JPEG", (12, 10))
    assert judged(tmp_path / "x", image(0, "PNG"), Transform(resize=50)) == ("png", "", None)


def test_what_only_fails_while_decoding_is_counted_at_writing(tmp_path):
    root = source(tmp_path, captioned=3, bare=2)
    whole = image(8, "BMP", size=(40, 40))
    (root / "photos/cut.bmp").write_bytes(whole[: len(whole) // 2])
    (root / "photos/whole.bmp").write_bytes(whole)
    assert convert(root, tmp_path / "out", "--val-ratio", 0) == 0
    counts = check_counts(tmp_path / "out")
    assert counts["images"]["skipped"] == {"undecodable image": 1}
    assert counts["recoded"] == {"BMP format": 1}
    assert picture(members(tmp_path / "out/unpaired")["whole"])[0] == "png"


def test_empty_and_missing_files_are_faults(tmp_path):
    (tmp_path / "x").write_bytes(b"")
    assert inspect(FileImage(str(tmp_path / "x")), Transform()).fault == "empty file"
    assert inspect(FileImage(str(tmp_path / "y")), Transform()).fault == "unreadable file (No such file or directory)"


def test_a_slice_reads_as_its_file_would(tmp_path):
    data = image(3)
    (tmp_path / "whole").write_bytes(data)
    (tmp_path / "within").write_bytes(b"before" + data + b"after")
    part = SliceImage(str(tmp_path / "within"), 6, len(data))
    assert part.read() == data
    with part.open() as file:
        assert file.read() == data
    assert inspect(part, Transform(), check=True) == inspect(
        FileImage(str(tmp_path / "whole")), Transform(), check=True
    )
