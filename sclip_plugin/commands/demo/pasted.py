"""Paste the pictures of a retrieval set on canvases, with a box and a caption each: a set for `sclip eval --regions`.

    sclip demo --unpack data
    sclip convert data/emoji/captions.csv --split-column split --val-split test --out data/test
    python -m sclip_plugin.commands.demo.pasted data/test/val data/regions

Each canvas has pictures of different captions on a plain ground, at random places that do not overlap, in sizes from a
sixth to a third of the canvas. The same input and seed give the same canvases. The embedded emoji and icons become sets
of regions by this.
"""

import argparse
import json
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from PIL import Image
from tqdm import tqdm

from sclip_plugin.commands.demo.script import run
from sclip_plugin.data.samples import Skip, image_bytes, read_samples
from sclip_plugin.decoding import ImageFault, decode_rgb
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.names import RETRIEVAL
from sclip_plugin.evaluation.regions import ANNOTATIONS, IMAGES
from sclip_plugin.evaluation.sets import captions_of, open_set

SIDE: Final = 384  # pixels of a canvas; this and what follows is ours
SMALLEST, LARGEST = SIDE // 6, SIDE // 3
TRIES: Final = 200  # places that are tried for a picture before its canvas is begun anew
NUMBER, EACH = 200, 6  # canvases, pictures on a canvas
MOST = 8  # pictures on a canvas; more would not fit
GROUNDS: Final = ("white", "#e8e4da", "#d7e3ea", "#e3ead7", "#3d4451")

Place = tuple[int, int, int]  # left, top, side


def pictures(folder: Path, left_out: Counter[str]) -> list[tuple[Image.Image, str]]:
    """The pictures of a retrieval set, each with its first caption; others are counted in `left_out` by reason.

    Raises:
        DataError: the set is incomplete, or of the other kind.
    """
    found = open_set(folder, RETRIEVAL)
    every = []
    for shard in found.shards:
        for _, members in read_samples(str(shard), 0, None, left_out):
            try:
                every.append((decode_rgb(image_bytes(members)), captions_of(found, shard, members)[0]))
            except (Skip, ImageFault) as reason:
                left_out[str(reason)] += 1
    return every


def places(number: int, random_: random.Random) -> list[Place]:
    """Squares on a canvas that do not overlap."""
    found: list[Place] = []
    tries = 0
    while len(found) < number:
        side = random_.randint(SMALLEST, LARGEST)
        left, top = (random_.randint(0, SIDE - side) for _ in range(2))
        apart = [left + side <= x or x + s <= left or top + side <= y or y + s <= top for x, y, s in found]
        tries += 1
        if all(apart):
            found.append((left, top, side))
        elif tries > TRIES:
            found, tries = [], 0
    return found


def canvases(
    every: list[tuple[Image.Image, str]], number: int, each: int, random_: random.Random
) -> Iterator[tuple[Image.Image, list[tuple[Place, str]]]]:
    """Yield canvases, each with the places and captions of what it shows."""
    for _ in range(number):
        chosen: dict[str, Image.Image] = {}
        while len(chosen) < each:
            picture, caption = random_.choice(every)
            chosen.setdefault(caption, picture)
        canvas = Image.new("RGB", (SIDE, SIDE), random_.choice(GROUNDS))
        shown = list(zip(places(each, random_), chosen))
        for (left, top, side), caption in shown:
            canvas.paste(chosen[caption].resize((side, side), Image.Resampling.BICUBIC), (left, top))
        yield canvas, shown


def write(folder: Path, out: Path, number: int = NUMBER, each: int = EACH, seed: int = 0) -> Counter[str]:
    """Write a set of regions; returns what was left out, by reason.

    Args:
        folder: the retrieval set.
        out: the folder to write; it appears whole or not at all.
        number: canvases.
        each: pictures on a canvas.
        seed: of the choice of pictures, places and grounds.

    Raises:
        DataError: the set has fewer than `each` captions that differ, or `out` is there or cannot be written.
    """
    left_out: Counter[str] = Counter()
    every = pictures(folder, left_out)
    if len({caption for _, caption in every}) < each:
        raise DataError(f"{folder}: fewer than {each} captions that differ")
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        (aside / IMAGES).mkdir(parents=True)
        made = canvases(every, number, each, random.Random(seed))
        notes = _save(aside, tqdm(made, total=number, desc="pasting", unit="canvas", disable=None))
        (aside / ANNOTATIONS).write_text(json.dumps(notes) + "\n", encoding="utf-8")
        os.replace(aside, out)
    except OSError as error:
        raise DataError(f"{out}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return left_out


def _save(out: Path, made: Iterator[tuple[Image.Image, list[tuple[Place, str]]]]) -> dict[str, list[dict[str, object]]]:
    """Save the canvases; returns the annotations."""
    images: list[dict[str, object]] = []
    notes: list[dict[str, object]] = []
    for canvas, shown in made:
        name = f"{len(images):06d}.png"
        canvas.save(out / IMAGES / name)
        for (left, top, side), caption in shown:
            box = [left, top, side, side]
            notes.append({"id": len(notes), "image_id": len(images), "bbox": box, "caption": caption})
        images.append({"id": len(images), "file_name": name, "width": SIDE, "height": SIDE})
    return {"images": images, "annotations": notes}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the set that the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path, help="a retrieval set in CLIP_benchmark's layout")
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("--number", type=int, default=NUMBER, help=f"canvases (default {NUMBER})")
    parser.add_argument("--each", type=int, default=EACH, help=f"pictures on a canvas, at most {MOST} (default {EACH})")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    def work() -> Counter[str]:
        if not (args.number >= 1 and 2 <= args.each <= MOST):
            raise DataError(f"--number must be at least 1 and --each from 2 to {MOST}")
        return write(args.set, args.out, args.number, args.each, args.seed)

    return run("pasted", work)


if __name__ == "__main__":
    sys.exit(main())
