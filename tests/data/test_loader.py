"""The mixed loader on real tars: who reads what, how often, and what happens to bad samples."""

import json
from collections import Counter

import pytest
import torch

from sclip_plugin.data.config import MixedConfig
from sclip_plugin.data.mixed import MixedLoader
from sclip_plugin.data.shard_list import ShardSet, count_samples, expand
from sclip_plugin.errors import DataError
from sclip_plugin.keywords import Vocabulary
from tests.helpers.shards import picture, write_shards, write_tar


def first_pixel(image):
    """A stand-in for the transform: three numbers that identify `picture(i)`."""
    import numpy as np

    return torch.from_numpy(np.asarray(image, dtype=np.float32)[:2, :2].copy()).permute(2, 0, 1)


class Words:
    """A stand-in for the tokenizer: the number at the end of each caption."""

    def __call__(self, texts):
        return torch.tensor([[int(text.split()[-1])] for text in texts])


def source(folder, flag="--train-data", sizes=True, num_samples=None) -> ShardSet:
    shards = expand(str(folder), flag)
    return ShardSet(shards, count_samples(shards) if sizes else None, num_samples)


def loaders(paired, unpaired, world=1, workers=0, batch=4, unpaired_batch=3, **options):
    vocabulary = options.pop("vocabulary", None)
    for rank in range(world):
        config = MixedConfig(paired, unpaired, batch, unpaired_batch, rank=rank, world_size=world, **options)
        yield MixedLoader(config, first_pixel, Words(), vocabulary, workers=workers)


def read(loader, epoch=0):
    """[(captions' numbers, unpaired images' fingerprints)] per step."""
    loader.shared_epoch.set_value(epoch)
    steps = []
    for images, texts in loader:
        unpaired = images.pixels[images.num_paired :]
        assert len(images) == len(texts)
        steps.append((texts.tokens[:, 0].tolist(), [tuple(p.flatten().tolist()) for p in unpaired]))
    return steps


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("loader")
    write_shards(root / "paired", 50, 7, captions=True)
    write_shards(root / "one", 50, 1, captions=True)
    write_shards(root / "unpaired", 31, 2, captions=False, first=500)
    return root


@pytest.mark.parametrize("folder", ["paired", "one"])
@pytest.mark.parametrize(("world", "workers", "accum"), [(1, 0, 1), (1, 3, 1), (2, 2, 1), (3, 0, 2), (2, 9, 1)])
def test_an_epoch_reads_each_pair_and_no_global_batch_holds_one_twice(folder, world, workers, accum, sets):
    ranks = list(loaders(source(sets / folder), source(sets / "unpaired"), world, workers, accum=accum))
    steps = ranks[0].num_batches
    assert steps == -(-50 // (4 * world * accum)) * accum
    for epoch in (0, 1):
        read_by = [read(loader, epoch) for loader in ranks]
        assert all(len(rows) == steps for rows in read_by)
        counts = Counter(pair for rows in read_by for pairs, _ in rows for pair in pairs)
        assert set(counts) == set(range(50))
        assert sum(counts.values()) == steps * world * 4
        for step in range(0, steps, accum):
            batch = [pair for rows in read_by for pairs, _ in rows[step : step + accum] for pair in pairs]
            assert len(set(batch)) == len(batch) == 4 * world * accum


@pytest.mark.parametrize("asked", [17, 40, 96, 100, 250])
@pytest.mark.parametrize(("world", "workers", "accum"), [(1, 0, 1), (2, 0, 1), (2, 3, 1), (2, 2, 2)])
def test_no_global_batch_holds_a_pair_twice_whatever_number_of_samples_is_asked_for(
    asked, world, workers, accum, tmp_path
):
    """An epoch of another length than the set begins and ends inside a pass over it, or runs over several."""
    write_shards(tmp_path / "pairs", 48, 5, captions=True)
    write_shards(tmp_path / "unpaired", 9, 1, captions=False)
    per_step = 4 * world * accum
    pairs = source(tmp_path / "pairs", num_samples=asked)
    ranks = list(loaders(pairs, source(tmp_path / "unpaired"), world, workers, accum=accum))
    seen = Counter()
    for epoch in range(5):
        read_by = [read(loader, epoch) for loader in ranks]
        assert {len(rows) for rows in read_by} == {-(-asked // per_step) * accum}
        for step in range(0, len(read_by[0]), accum):
            batch = [pair for rows in read_by for pairs, _ in rows[step : step + accum] for pair in pairs]
            assert len(set(batch)) == len(batch) == per_step
            seen.update(batch)
    expected = sum(seen.values()) / 48
    assert all(abs(seen[pair] - expected) <= 0.2 * expected + 3 for pair in range(48))  # passes, not a part of the set


def test_the_order_is_a_function_of_seed_and_epoch(sets):
    def order(epoch, **options):
        (loader,) = loaders(source(sets / "paired"), source(sets / "unpaired"), workers=2, **options)
        return read(loader, epoch)

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != order(0, seed=1)
    assert order(1) == order(1)  # a fresh process that starts at epoch 1, as --resume does


def test_unpaired_images_are_seen_equally_often_across_epochs(sets):
    ranks = list(loaders(source(sets / "paired"), source(sets / "unpaired"), world=2, workers=2, unpaired_batch=4))
    seen = Counter()
    for epoch in range(5):
        for loader in ranks:
            seen.update(image for _, images in read(loader, epoch) for image in images)
    assert len(seen) == 31
    assert max(seen.values()) - min(seen.values()) <= 1
    assert sum(seen.values()) == 5 * ranks[0].num_batches * 2 * 4


def test_a_set_without_usable_samples_is_told_by_its_own_counts():
    from sclip_plugin.data.stream import SampleStream

    counts = Counter({"unpaired: read": 7, "unpaired: no image": 1, "paired: no caption": 2, "paired: no image": 3})
    told = {
        name: SampleStream(["a.tar"], name, decode=id, flag="--x", counts=counts).nothing_usable()
        for name in ("paired", "unpaired")
    }
    assert "; found 2 × no caption, 3 × no image; " in told["paired"]
    assert "; found 1 × no image, 7 × read; " in told["unpaired"]


def test_fewer_unpaired_images_than_a_batch(sets, tmp_path):
    write_shards(tmp_path / "few", 2, 1, captions=False)
    (loader,) = loaders(source(sets / "paired"), source(tmp_path / "few"), unpaired_batch=5)
    assert all(len(images) == 5 for _, images in read(loader))


def test_captions_are_drawn_anew_and_candidates_belong_to_the_caption_drawn(tmp_path):
    captions = [f"a {word} {number}" for number, word in enumerate(["tree", "river", "park"])]
    members = []
    for i in range(8):
        members += [
            (f"{i}.png", picture(i)),
            (f"{i}.txt", b"a tree 0"),
            (f"{i}.json", json.dumps({"captions": captions}).encode()),
        ]
    write_tar(tmp_path / "paired" / "0.tar", members)
    write_shards(tmp_path / "unpaired", 8, 1, captions=False)
    vocabulary = Vocabulary(["tree", "river", "park", "lake"])
    (loader,) = loaders(source(tmp_path / "paired"), source(tmp_path / "unpaired"), batch=8, vocabulary=vocabulary)
    drawn = set()
    for epoch in range(6):
        loader.shared_epoch.set_value(epoch)
        ((_, texts),) = list(loader)
        numbers = texts.tokens[:, 0]
        assert torch.equal(texts.candidates, torch.nn.functional.one_hot(numbers, 4).bool())
        drawn.update(numbers.tolist())
    assert drawn == {0, 1, 2}


def test_counts_add_up_and_bad_samples_are_replaced(tmp_path):
    members = []
    for i in range(20):
        image, text = picture(i), f"a tree {i}".encode()
        if i == 3:
            image = image[:50]
        if i == 4:
            text = b" \n"
        members.append((f"{i:02d}.png" if i != 5 else "05.tif", image))
        if i != 6:
            members.append((f"{i:02d}.txt", text))
    write_tar(tmp_path / "paired" / "0.tar", members)
    write_shards(tmp_path / "unpaired", 20, 1, captions=False)
    (loader,) = loaders(source(tmp_path / "paired"), source(tmp_path / "unpaired"))
    rows = read(loader)
    assert len(rows) == 5
    good = set(range(20)) - {3, 4, 5, 6}
    assert {pair for pairs, _ in rows for pair in pairs} == good
    assert all(len(set(pairs)) == 4 for pairs, _ in rows)
    assert loader.counts["paired: read"] == 20
    for reason in ("undecodable image", "empty caption", "no image", "no caption"):
        assert loader.counts[f"paired: {reason}"] >= 1, reason


def test_a_truncated_shard_gives_what_it_holds(sets, tmp_path):
    write_shards(tmp_path / "paired", 20, 2, captions=True)
    broken = tmp_path / "paired" / "000000.tar"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    (loader,) = loaders(source(tmp_path / "paired"), source(sets / "unpaired"))
    rows = read(loader)
    assert len(rows) == 5
    whole = {pair for pairs, _ in rows for pair in pairs}
    assert whole >= set(range(1, 20, 2))  # all of the sound shard
    assert len(whole) < 20
    lost = ("unreadable shard", "missing from shard", "no caption")  # the cut may fall between image and caption
    assert sum(loader.counts[f"paired: {reason}"] for reason in lost) >= 20 - len(whole)


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_usable_is_an_error_after_one_pass(workers, sets, tmp_path):
    write_shards(tmp_path / "paired", 20, 3, captions=False)
    (loader,) = loaders(source(tmp_path / "paired"), source(sets / "unpaired"), workers=workers)
    with pytest.raises(
        DataError, match=r"--train-data: no usable sample in a whole pass over 3 shards; found \d+ × no caption;"
    ):
        read(loader)
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "0.tar").write_bytes(b"not a tar" * 500)
    (tmp_path / "junk" / "sizes.json").write_text('{"0.tar": 9}')
    junk = source(tmp_path / "junk", "--unpaired-data")
    (loader,) = loaders(source(sets / "paired"), junk, workers=workers)
    with pytest.raises(
        DataError, match=r"--unpaired-data: no usable sample in .* 1 shards; found \d+ × unreadable shard"
    ):
        read(loader)


def test_pipes_with_and_without_sizes(sets, tmp_path):
    pipe = "pipe:cat " + str(sets / "paired" / "{000000..000006}.tar")
    shards = expand(pipe, "--train-data")
    assert len(shards) == 7
    assert count_samples(shards) is None
    paired = ShardSet(shards, None, 50)
    for world, workers in ((1, 0), (2, 2), (4, 3)):  # more shards than slots, and fewer
        ranks = list(loaders(paired, source(sets / "unpaired"), world, workers))
        seen = {pair for loader in ranks for pairs, _ in read(loader) for pair in pairs}
        assert len(seen) >= 30
        assert all(loader.num_batches == -(-50 // (4 * world)) for loader in ranks)


def test_resampling_by_weight(tmp_path, sets):
    write_shards(tmp_path / "a", 20, 1, captions=True)
    write_shards(tmp_path / "b", 20, 1, captions=True)
    shards = expand(f"{tmp_path / 'a'}::{tmp_path / 'b'}", "--train-data", "1::1e-9", "--factors")
    config = MixedConfig(ShardSet(shards, count_samples(shards)), source(sets / "unpaired"), 4, 3, resampled=True)
    loader = MixedLoader(config, first_pixel, Words())
    stream_a = {tuple(first_pixel(image).flatten().tolist()) for image in _pictures(20)}
    loader.shared_epoch.set_value(0)
    for images, _ in loader:
        assert {tuple(p.flatten().tolist()) for p in images.pixels[:4]} <= stream_a
    assert loader.num_batches == 10


def _pictures(count):
    import io

    from PIL import Image

    return [Image.open(io.BytesIO(picture(i))) for i in range(count)]


def test_sizes_are_counted_where_sizes_json_is_missing(tmp_path):
    write_shards(tmp_path / "x", 11, 2, captions=True, sizes=False)
    assert count_samples(expand(str(tmp_path / "x"), "--train-data")).tolist() == [6, 5]
    (tmp_path / "x" / "sizes.json").write_text('{"000000.tar": "many"}')
    with pytest.raises(DataError, match=r"--train-data: .*sizes\.json is not a table of shard names and counts"):
        count_samples(expand(str(tmp_path / "x"), "--train-data"))
