"""Retrieval within one picture: which of its crops does a caption mean, and which of its captions fits a crop?

DIR/images/               the pictures, or the folder that `file_name` counts from
DIR/annotations.json      COCO's format: images with `id` and `file_name`; annotations with `image_id`, `bbox` (left,
                          top, width, height in pixels) and `caption`, or `category_id` with a name in `categories`

Retrieval over a whole set tells pictures apart; here all candidates are of one picture. Legend: R regions, P pictures,
D embedding width.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from sclip_plugin.data.workers import leave_interrupts_to_the_main_process
from sclip_plugin.decoding import ImageFault, decode_rgb
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.features import Encoder, encoded_batches, evaluating
from sclip_plugin.evaluation.metrics import first_hit_ranks
from sclip_plugin.evaluation.models import Preprocess, Tokenizer
from sclip_plugin.evaluation.names import REGION_METRICS

ANNOTATIONS: Final = "annotations.json"
IMAGES: Final = "images"
Box = tuple[float, float, float, float]  # left, top, width, height in pixels


@dataclass(frozen=True)
class Region:
    """A box of a picture.

    Attributes:
        box: left, top, width, height in pixels.
        caption: what it shows.
    """

    box: Box
    caption: str


@dataclass(frozen=True)
class RegionSet:
    """Pictures with boxes.

    Attributes:
        folder: the set.
        pictures: the regions of each picture by its file; at least two captions that differ.
        skipped: what of the annotations cannot be used, by reason.
    """

    folder: Path
    pictures: dict[Path, tuple[Region, ...]]
    skipped: Counter[str]


def open_regions(folder: str | Path) -> RegionSet:
    """Read a set's annotations; its pictures are not opened.

    Raises:
        DataError: the folder or the annotations are missing or damaged, or no picture has two regions to tell apart.
    """
    folder = Path(folder)
    path = folder / ANNOTATIONS
    raw = _read(path)
    skipped: Counter[str] = Counter()
    names = {str(one.get("id")): one.get("file_name") for one in _objects(path, raw, "images")}
    categories = {str(one.get("id")): one.get("name") for one in _objects(path, raw, "categories", needed=False)}
    found: dict[Path, list[Region]] = defaultdict(list)
    for note in _objects(path, raw, "annotations"):
        region = _region(note, categories)
        name = names.get(str(note.get("image_id")))
        file = _file(folder, name) if isinstance(name, str) else None
        if isinstance(region, str) or file is None:
            skipped[region if isinstance(region, str) else "no such image"] += 1
        else:
            found[file].append(region)
    pictures = {file: tuple(regions) for file, regions in found.items() if len({one.caption for one in regions}) > 1}
    skipped["alone in its picture"] += sum(len(one) for one in found.values()) - sum(map(len, pictures.values()))
    if not pictures:
        listed = ", ".join(f"{reason} × {number}" for reason, number in sorted((+skipped).items()))
        raise DataError(f"{path}: no picture with two regions whose captions differ ({listed or 'no annotations'})")
    return RegionSet(folder, pictures, +skipped)


def _read(path: Path) -> Mapping[str, object]:
    if not path.parent.is_dir():
        raise DataError(f"region set {path.parent}: no such folder")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"region set {path.parent}: {path.name} is missing") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path}: not JSON") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    if not isinstance(raw, dict):
        raise DataError(f"{path}: must be an object with images and annotations")
    return raw


def _objects(path: Path, raw: Mapping[str, object], key: str, needed: bool = True) -> Iterator[Mapping[str, object]]:
    found = raw.get(key, None if needed else [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise DataError(f"{path}: {key} must be a list of objects")
    yield from found


def _file(folder: Path, name: str) -> Path | None:
    """The file of a picture; None where there is none inside the set."""
    for root in (folder / IMAGES, folder):
        file = root / name
        if "\0" not in name and file.is_file() and file.resolve().is_relative_to(root.resolve()):
            return file
    return None


def _region(note: Mapping[str, object], categories: Mapping[str, object]) -> Region | str:
    """The region of an annotation, or the reason why there is none."""
    box, caption = note.get("bbox"), note.get("caption", categories.get(str(note.get("category_id"))))
    if not isinstance(caption, str) or not caption.strip():
        return "no caption"
    if not isinstance(box, list) or len(box) != 4 or not all(type(one) in (int, float) for one in box):
        return "no box"
    left, top, width, height = (float(one) for one in box)
    if not (np.isfinite([left, top, width, height]).all() and width > 0 and height > 0):
        return "no box"
    return Region((left, top, width, height), " ".join(caption.split()))


def square(box: Box, width: int, height: int) -> tuple[int, int, int, int] | None:
    """The crop of a box: left, top, right, bottom in whole pixels; None where the box lies outside the picture.

    The shorter side grows to the longer one about the box's centre, as far as the picture goes, so that a model's
    centre crop, which takes a square out of the middle, does not cut the box. (Ours.)

    Args:
        box: left, top, width, height.
        width: of the picture.
        height: of the picture.
    """
    left, top, wide, high = box
    if left >= width or top >= height or left + wide <= 0 or top + high <= 0:
        return None
    side = max(wide, high)
    ends: list[tuple[int, int]] = []
    for start, length, most in ((left, wide, width), (top, high, height)):
        size = min(side, most)
        first = min(max(start + length / 2 - size / 2, 0), most - size)
        low = min(int(first), most - 1)
        ends.append((low, min(max(low + 1, round(first + size)), most)))
    (x0, x1), (y0, y1) = ends
    return x0, y0, x1, y1


Crop = tuple[Tensor, tuple[Path, Region]]  # the pixels that a model takes, and where they are from


class Crops(Dataset["list[Crop | str]"]):
    """Gives for each picture of a set its crops, and the reason for each region that has none.

    Args:
        found: the set.
        preprocess: PIL image → (3, H, W).
    """

    def __init__(self, found: RegionSet, preprocess: Preprocess) -> None:
        self.pictures, self.preprocess = list(found.pictures.items()), preprocess

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> list[Crop | str]:
        file, regions = self.pictures[number]
        try:
            picture = decode_rgb(file.read_bytes())
        except ImageFault as fault:
            return [str(fault)] * len(regions)
        except OSError:
            return ["unreadable image"] * len(regions)
        return [self._crop(picture, file, region) for region in regions]

    def _crop(self, picture: Image.Image, file: Path, region: Region) -> Crop | str:
        place = square(region.box, picture.width, picture.height)
        return (self.preprocess(picture.crop(place)), (file, region)) if place else "box outside the picture"


def _loaded(found: RegionSet, preprocess: Preprocess, workers: int) -> Iterator[Crop | str]:
    loader = DataLoader(
        Crops(found, preprocess),
        batch_size=None,
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=leave_interrupts_to_the_main_process,
    )
    for group in tqdm(loader, desc=found.folder.name, unit="picture", disable=None, leave=False):
        yield from group


def evaluate_regions(
    model: nn.Module,
    preprocess: Preprocess,
    tokenizer: Tokenizer,
    folder: str | Path,
    *,
    device: str | torch.device = "cpu",
    batch_size: int = 64,
    workers: int = 0,
    precision: str = "fp32",
    counts: Counter[str] | None = None,
    ranks: dict[str, np.ndarray] | None = None,
) -> dict[str, float]:
    """`region_retrieval_recall@1` and `caption_retrieval_recall@1` within pictures, and `region_chance`.

    Chance is the share of captions whose crop would be found by guessing. Regions of a picture with one caption count
    as each other's right answers.

    Args:
        model: an open_clip model on `device`; evaluated in eval mode and left as it was.
        preprocess: PIL image → (3, H, W), open_clip's validation transform; it gets the crops.
        tokenizer: texts → tokens.
        folder: the set.
        device: where the model is.
        batch_size: crops, and texts, in a forward pass.
        workers: processes that decode pictures (0: this one).
        precision: one of `names.PRECISIONS`, as open_clip's `--precision`.
        counts: filled with the number of images, regions, and regions skipped by reason.
        ranks: filled with the numpy arrays that `bootstrap.replicates` takes.

    Raises:
        DataError: the set is missing or damaged, or no picture is left with two regions to tell apart.
    """
    found, skipped = open_regions(folder), Counter[str]()
    encoder = Encoder(model, tokenizer, device, precision)
    with evaluating(model):
        batches = list(encoded_batches(encoder, _loaded(found, preprocess, workers), batch_size, skipped))
        kept = [about for _, group in batches for about in group]
        pictures = _together(kept)
        if not pictures:
            raise DataError(f"region set {folder}: no usable picture ({_listed(skipped)})")
        features = torch.cat([part for part, _ in batches])
        texts = encoder.texts_in_batches([region.caption for _, region in kept], batch_size).cpu()
    arrays = _ranks(features, texts, [region.caption for _, region in kept], pictures)
    if counts is not None:
        skipped += found.skipped
        skipped["alone in its picture"] += len(kept) - sum(map(len, pictures))
        counts.update({"images": len(pictures), "regions": len(arrays["picture"])})
        counts.update({f"skipped: {reason}": number for reason, number in (+skipped).items()})
    if not bool(torch.isfinite(features).all() & torch.isfinite(texts).all()):
        return dict.fromkeys(REGION_METRICS, float("nan"))
    if ranks is not None:
        ranks.update(arrays)
    values = ((arrays["region"] < 1).mean(), (arrays["caption"] < 1).mean(), arrays["chance"].mean())
    return dict(zip(REGION_METRICS, map(float, values)))


def _listed(skipped: Counter[str]) -> str:
    return ", ".join(f"{reason} × {number}" for reason, number in sorted(skipped.items())) or "no regions"


def _together(kept: list[tuple[Path, Region]]) -> list[list[int]]:
    """The places of each picture's regions, of pictures that still have two captions that differ."""
    groups: dict[Path, list[int]] = defaultdict(list)
    for place, (file, _) in enumerate(kept):
        groups[file].append(place)
    return [places for places in groups.values() if len({kept[place][1].caption for place in places}) > 1]


def _ranks(crops_: Tensor, texts: Tensor, captions: list[str], pictures: list[list[int]]) -> dict[str, np.ndarray]:
    """For each region of each picture: the ranks `region` and `caption`, `chance`, and the number of its `picture`.

    Args:
        crops_: (R, D).
        texts: (R, D).
        captions: R texts.
        pictures: the places of each picture's regions.
    """
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    for number, places in enumerate(pictures):
        scores = texts[places] @ crops_[places].T  # a row for each caption
        same = torch.tensor([[captions[one] == captions[other] for other in places] for one in places])
        columns = torch.where(same, torch.arange(len(places)), -1)
        parts["region"].append(first_hit_ranks(scores, columns).numpy())
        parts["caption"].append(first_hit_ranks(scores.T, columns).numpy())
        parts["chance"].append(same.double().mean(dim=1).numpy())
        parts["picture"].append(np.full(len(places), number))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}
