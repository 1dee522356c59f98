"""Images per second of the loader, against stock open_clip's on the same JPEGs with the same transform and tokenizer.

    python benchmarks/loader.py
    python benchmarks/loader.py --size 2000 1500 --workers 0 1 --json loader.json

Each side decodes, augments and collates as many images of the same shards in an epoch. Stock reads pairs; ours reads
half of its images as pairs and half without captions, from the same tars. They take turns, epoch by epoch. With
`--workers 0` all is done in one process, so that the ratio says what an image costs; with workers the machine's cores
count too. `--draft` adds our loader with `--sclip-draft-jpeg`, `--fast-resize` with `--sclip-fast-resize`; with both
there is a fifth with both.
"""

import argparse
import copy
import tempfile
import time
from pathlib import Path

import open_clip
import torch
from open_clip.transform import image_transform
from open_clip_train.data import get_wds_dataset
from photos import WORDS, caption, write_set
from timing import clock_for, machine, medians, write_json

from sclip_plugin.data.config import MixedConfig
from sclip_plugin.data.mixed import MixedLoader
from sclip_plugin.data.resizing import with_fast_resize
from sclip_plugin.data.shard_list import ShardSet, count_samples, expand
from sclip_plugin.decoding import draft_side
from sclip_plugin.keywords import Vocabulary

OPTIONS = {"drafts": "drafts", "fast_resize": "fast resizing", "both": "both"}


def stock_loader(folder: Path, transform, tokenizer, batch: int, workers: int):
    """open_clip's own training loader."""
    arguments = argparse.Namespace(
        train_data=f"{folder}/{{000000..{len(list(folder.glob('*.tar'))) - 1:06d}}}.tar",
        train_num_samples=None,
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        seed=0,
        batch_size=batch,
        workers=workers,
        world_size=1,
    )
    return get_wds_dataset(arguments, transform, is_train=True, tokenizer=tokenizer)


def mixed_loader(folder: Path, transform, tokenizer, batch: int, workers: int, draft: int | None = None) -> MixedLoader:
    """Our loader: half of a batch is pairs, half is images without captions; an epoch has as many images as stock's."""
    shards = expand(str(folder), "--train-data")
    sizes = count_samples(shards)
    paired = ShardSet(shards, sizes, int(sizes.sum()) // 2)
    vocabulary = Vocabulary(WORDS + [f"keyword {number}" for number in range(200 - len(WORDS))])
    config = MixedConfig(paired, ShardSet(shards, sizes), batch // 2, batch // 2, draft=draft)
    return MixedLoader(config, transform, tokenizer, vocabulary, workers=workers)


class Epoch:
    """A function that reads one epoch, and the number of images that it read."""

    def __init__(self, loader, shared_epoch):
        self.loader, self.shared_epoch, self.images, self.number = loader, shared_epoch, 0, 0

    def __call__(self):
        self.shared_epoch.set_value(self.number)
        self.number += 1
        self.images = sum(len(getattr(images, "pixels", images)) for images, _ in self.loader)


def keyword_seconds(batches: int = 20, batch: int = 64) -> float:
    """Seconds that keyword matching takes for one sample."""
    vocabulary = Vocabulary(WORDS + [f"keyword {number}" for number in range(200 - len(WORDS))])
    captions = [caption(seed) for seed in range(batch)]
    functions = {"matching": lambda: [vocabulary.indices(text) for text in captions]}
    return medians(functions, batches, clock=clock_for(1))["matching"] / batch


def measure(arguments: argparse.Namespace, folder: Path, workers: int) -> dict:
    """Images per second of both loaders, their ratio, and the share of a sample's time that keyword matching takes."""
    transform = image_transform(arguments.crop, is_train=True)
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    stock = stock_loader(folder, copy.deepcopy(transform), tokenizer, arguments.batch, workers)
    fast, side = with_fast_resize(transform), draft_side(transform)
    ours = {"ours": (transform, None)}
    ours |= {"drafts": (transform, side)} if arguments.draft else {}
    ours |= {"fast_resize": (fast, None)} if arguments.fast_resize else {}
    ours |= {"both": (fast, side)} if arguments.draft and arguments.fast_resize else {}
    epochs = {"stock": Epoch(stock.dataloader, stock.shared_epoch)}
    for name, (changed, draft) in ours.items():
        loader = mixed_loader(folder, changed, tokenizer, arguments.batch, workers, draft)
        epochs[name] = Epoch(loader, loader.shared_epoch)
    seconds = medians(epochs, arguments.repeats, clock=clock_for(1 + workers))
    rates = {name: epoch.images / seconds[name] for name, epoch in epochs.items()}
    row = {"workers": workers, "size": list(arguments.size), "crop": arguments.crop, "repeats": arguments.repeats}
    row |= {f"{name}_images_per_second": rate for name, rate in rates.items()}
    row |= {f"{name}_ratio": rate / rates["stock"] for name, rate in rates.items() if name != "stock"}
    return row | {"keyword_share": keyword_seconds() * rates["ours"]}


def main() -> None:
    """Measure and print what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=512, help="samples in the set (default: 512)")
    parser.add_argument("--size", type=int, nargs=2, default=[500, 375], metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--crop", type=int, default=224, help="side of the model's images (default: 224)")
    parser.add_argument("--batch", type=int, default=64, help="images in a batch (default: 64)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0], help="DataLoader workers (default: 0)")
    parser.add_argument("--draft", action="store_true", help="time our loader with --sclip-draft-jpeg as well")
    parser.add_argument("--fast-resize", action="store_true", help="time ours with --sclip-fast-resize as well")
    parser.add_argument("--repeats", type=int, default=7, help="timed epochs of each; the median counts (default: 7)")
    parser.add_argument("--json", metavar="OUT", help="write the figures here as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        shards = max(4, *arguments.workers)
        start = time.perf_counter()
        write_set(Path(folder), arguments.samples, shards, tuple(arguments.size), captions=True)
        print(f"{arguments.samples} JPEGs written in {time.perf_counter() - start:.0f} s", flush=True)
        for workers in arguments.workers:
            row = measure(arguments, Path(folder), workers)
            rows.append(row)
            print(
                f"{arguments.size[0]}x{arguments.size[1]} to {row['crop']}, workers {workers}: "
                f"stock {row['stock_images_per_second']:.0f} images/s, ours {row['ours_images_per_second']:.0f}, "
                f"ratio {row['ours_ratio']:.3f}"
                + "".join(
                    f", with {OPTIONS[one]} {row[f'{one}_ratio']:.2f}" for one in OPTIONS if f"{one}_ratio" in row
                )
                + f"; keyword matching {100 * row['keyword_share']:.2f}% of a sample's time",
                flush=True,
            )
    write_json(arguments.json, {"machine": machine(), "loader": rows})


if __name__ == "__main__":
    main()
