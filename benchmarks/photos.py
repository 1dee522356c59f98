"""Shards of JPEGs that cost what photographs cost to decode: smooth colours, edges and grain, made from a seed."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

WORDS = ["red", "green", "small", "large", "old", "new", "wooden", "house", "tree", "river", "bridge", "parking", "lot"]
WORDS += ["field", "road", "boat", "dog", "market"]


def photo(seed: int, width: int, height: int, quality: int = 85) -> bytes:
    """A JPEG of about the size that a photograph has, 0.25 bytes a pixel."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    edges = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize((width, height), Image.NEAREST)
    grain = np.asarray(Image.blend(coarse, edges, 0.3).filter(ImageFilter.GaussianBlur(1)), dtype=np.int16)
    grain = grain + rng.normal(0, 6, (height, width, 1)).astype(np.int16)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(grain, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def caption(seed: int, words: int = 11) -> str:
    """A caption of random words."""
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


def write_set(folder: Path, count: int, shards: int, size: tuple[int, int], captions: bool, distinct: int = 64) -> None:
    """Write `count` samples into `shards` tars with a `sizes.json`; the images repeat after `distinct`."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = [photo(seed, *size) for seed in range(min(count, distinct))]
    sizes = {}
    for shard in range(shards):
        name = f"{shard:06d}.tar"
        with tarfile.open(folder / name, "w") as tar:
            for index in range(shard, count, shards):
                members = {"jpg": photos[index % len(photos)], "json": b'{"source": "benchmark"}'}
                if captions:
                    members["txt"] = caption(index).encode()
                for suffix, data in members.items():
                    info = tarfile.TarInfo(f"{index:08d}.{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        sizes[name] = len(range(shard, count, shards))
    (folder / "sizes.json").write_text(json.dumps(sizes))
