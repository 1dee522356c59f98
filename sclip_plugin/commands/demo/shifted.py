"""Icons redrawn in another style, as images from a shifted domain: light on a dark colour, turned, thinner lines.

    python -m sclip_plugin.commands.demo.shifted SHARDS FOLDER

It writes a PNG for each image of the shards; the same shards give the same files.
"""

import argparse
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageFilter, ImageOps
from tqdm import tqdm

from sclip_plugin.commands.demo.script import run
from sclip_plugin.data.samples import Skip, image_bytes, read_samples
from sclip_plugin.data.shard_list import expand
from sclip_plugin.decoding import ImageFault, decode_rgb
from sclip_plugin.errors import DataError


def redraw(image: Image.Image, rng: random.Random) -> Image.Image:
    """An image in the other style; the colour and the angle are drawn from `rng`."""
    thin = image.convert("L").filter(ImageFilter.MaxFilter(3))  # dark lines lose a pixel
    turned = thin.rotate(rng.uniform(-25, 25), resample=Image.Resampling.BICUBIC, fillcolor=255)
    dark = (rng.randrange(110), rng.randrange(110), rng.randrange(110))
    return ImageOps.colorize(ImageOps.invert(turned), black=dark, white="white")


def redraw_shards(shards: str, folder: Path) -> Counter[str]:
    """Write a PNG into `folder`, which appears whole or not at all, for each image of the shards that can be used.

    Returns:
        The reasons for which others were left out, with their numbers.

    Raises:
        DataError: there are no shards, or the images cannot be written; names the folder.
    """
    urls, left_out = expand(shards, "SHARDS").urls, Counter[str]()
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        aside.mkdir(parents=True)
        for url in tqdm(urls, desc="redrawing", unit="shard", disable=None):
            for position, members in read_samples(url, 0, None, left_out):
                name = f"{Path(url).stem}-{position:05d}"
                try:
                    picture = decode_rgb(image_bytes(members))
                except (Skip, ImageFault) as reason:
                    left_out[str(reason)] += 1
                    continue
                redraw(picture, random.Random(name)).save(aside / f"{name}.png")
        os.replace(aside, folder)
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return left_out


def main(argv: Sequence[str] | None = None) -> int:
    """Redraw the shards that the command line names; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards")
    parser.add_argument("folder", type=Path)
    args = parser.parse_args(argv)
    return run("shifted", lambda: redraw_shards(args.shards, args.folder))


if __name__ == "__main__":
    sys.exit(main())
