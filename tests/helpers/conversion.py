"""A small source of images and captions, and readers of what a conversion wrote."""

import csv
import io
import json
import tarfile
from argparse import Namespace
from pathlib import Path

import numpy as np
from PIL import Image

from sclip_plugin.cli import main


def image(seed: int, form: str = "JPEG", mode: str = "RGB", size=(24, 20), **save) -> bytes:
    """An encoded picture that depends on the seed."""
    channels = {"L": (), "RGB": (3,), "RGBA": (4,), "CMYK": (4,), "LA": (2,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], *channels), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode if mode in ("CMYK", "LA") else None).save(buffer, form, **save)
    return buffer.getvalue()


def write_csv(path: Path, rows: list, header=("filepath", "caption", "label", "group"), separator: str = ",") -> Path:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=separator).writerows([header, *rows])
    return path


def source(root: Path, captioned: int = 40, bare: int = 20) -> Path:
    """Write captions.csv and photos/ below `root`; every third captioned image has two captions, a group two images."""
    photos = root / "photos"
    photos.mkdir(parents=True)
    rows = []
    for number in range(captioned + bare):
        (photos / f"p{number:03d}.jpg").write_bytes(image(number))
        if number < captioned:
            label, group = ("red", "green", "blue")[number % 3], f"g{number // 2}"
            rows.append((f"p{number:03d}.jpg", f"a {label} tree number {number}", label, group))
            if number % 3 == 0:
                rows.append((f"p{number:03d}.jpg", f"tree {number}, {label}", label, group))
    write_csv(root / "captions.csv", rows)
    return root


def convert(root: Path, out, *flags) -> int:
    return main(
        ["convert", str(root / "captions.csv"), "--images", str(root / "photos"), "--out", str(out), *map(str, flags)]
    )


def tars(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar"))


def members(folder: Path) -> dict[str, dict[str, bytes]]:
    """{key: {suffix: bytes}} over the tars of a folder. Fails if a key occurs twice or members are not adjacent."""
    found: dict[str, dict[str, bytes]] = {}
    for path in tars(folder):
        last = None
        with tarfile.open(path) as tar:
            for member in tar:
                key, suffix = member.name.split(".")
                assert key == last or key not in found
                found.setdefault(key, {})[suffix] = tar.extractfile(member).read()
                last = key
    return found


def picture(sample: dict[str, bytes]) -> tuple[str, bytes]:
    """(suffix, bytes) of a sample's image."""
    ((suffix, data),) = [(suffix, data) for suffix, data in sample.items() if suffix in ("jpg", "png", "webp")]
    return suffix, data


def sources(folder: Path) -> set[str]:
    return {json.loads(sample["json"])["source"] for sample in members(folder).values()}


def manifest(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text())


def check_counts(out: Path) -> dict:
    """The counts of a manifest. Fails if what was read is not the sum of what was written and skipped."""
    counts = manifest(out)["counts"]
    for what in ("images", "captions"):
        one = counts[what]
        assert one["read"] == sum(one["written"].values()) + sum(one["skipped"].values()), one
    return counts


def tree(out: Path) -> dict[str, bytes]:
    """{path: bytes} of every file below `out`."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def stock_reads(out: Path) -> tuple[int, list[str]]:
    """(samples counted, texts read) of the paired folder by stock open_clip's loader."""
    from open_clip_train.data import get_wds_dataset
    from torchvision.transforms.functional import to_tensor

    args = Namespace(
        train_data=f"{out}/paired/{{000000..{len(tars(out / 'paired')) - 1:06d}}}.tar",
        train_num_samples=None,
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        batch_size=1,
        world_size=1,
        workers=0,
        seed=0,
    )
    data = get_wds_dataset(args, to_tensor, is_train=True, tokenizer=lambda text: [text])
    return data.dataloader.num_samples, [text for _, batch in data.dataloader for text in batch]
