"""Icons redrawn in another style, as images from a shifted domain: light on a dark colour, turned, thinner lines.

    python -m sclip_plugin.commands.demo.shifted SHARDS FOLDER

It writes a PNG for each image of the shards; the same shards give the same files.
"""

import argparse
import os
import random
from collections import Counter
from pathlib import Path

from PIL import Image, ImageFilter, ImageOps
from tqdm import tqdm

from sclip_plugin.data.samples import image_bytes, read_samples
from sclip_plugin.data.shard_list import expand
from sclip_plugin.decoding import decode_rgb


def redraw(image: Image.Image, rng: random.Random) -> Image.Image:
    """An image in the other style; the colour and the angle are drawn from `rng`."""
    thin = image.convert("L").filter(ImageFilter.MaxFilter(3))  # dark lines lose a pixel
    turned = thin.rotate(rng.uniform(-25, 25), resample=Image.Resampling.BICUBIC, fillcolor=255)
    dark = (rng.randrange(110), rng.randrange(110), rng.randrange(110))
    return ImageOps.colorize(ImageOps.invert(turned), black=dark, white="white")


def main() -> None:
    """Redraw the shards that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards")
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    aside = args.folder.with_name(f".{args.folder.name}.{os.getpid()}")
    aside.mkdir(parents=True)
    for url in tqdm(expand(args.shards, "SHARDS").urls, desc="redrawing", unit="shard", disable=None):
        for position, members in read_samples(url, 0, None, Counter()):
            name = f"{Path(url).stem}-{position:05d}"
            picture = redraw(decode_rgb(image_bytes(members)), random.Random(name))
            picture.save(aside / f"{name}.png")
    os.replace(aside, args.folder)


if __name__ == "__main__":
    main()
