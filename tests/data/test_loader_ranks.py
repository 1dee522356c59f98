"""The loader over ranks and workers: who reads what of large, remote and partly bad sets, and what start-up costs."""

import json
import os
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from sclip_plugin.data.config import MixedConfig
from sclip_plugin.data.mixed import MixedLoader
from sclip_plugin.data.order import Layout, Passes, whole_shards
from sclip_plugin.data.shard_list import ShardSet, count_samples, expand
from sclip_plugin.data.stream import END_OF_PASS, shuffled
from sclip_plugin.errors import DataError
from tests.data.test_loader import Words, first_pixel, loaders, read, source
from tests.helpers.shards import picture, write_shards, write_tar


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("ranks")
    write_shards(root / "paired", 48, 6, captions=True)
    write_shards(root / "unpaired", 48, 6, captions=False, first=500)
    return root


def remote(folder, count, flag="--train-data"):
    """The shards behind a pipe: nobody knows their sizes."""
    shards = expand(f"pipe:cat {folder}/{{000000..{len(list(folder.glob('*.tar'))) - 1:06d}}}.tar", flag)
    assert count_samples(shards) is None
    return ShardSet(shards, None, count)


@pytest.mark.parametrize("shards", [1, 2, 5, 16])
@pytest.mark.parametrize(("world", "workers"), [(1, 2), (4, 0), (3, 2)])
def test_one_pass_gives_each_unpaired_image_to_one_rank(shards, world, workers, tmp_path):
    """Steps that divide the set: a pass is an epoch, and each image is on one rank in it, whatever the shard count."""
    write_shards(tmp_path / "paired", 48, shards, captions=True)
    write_shards(tmp_path / "unpaired", 48, shards, captions=False, first=500)
    ranks = loaders(source(tmp_path / "paired"), source(tmp_path / "unpaired"), world, workers, 4, 4)
    seen = Counter(image for loader in ranks for _, images in read(loader, epoch=3) for image in images)
    assert len(seen) == 48
    assert set(seen.values()) == {1}


def test_an_image_changes_rank_and_batch_from_epoch_to_epoch(sets):
    def ranks_of(epoch):
        ranks = loaders(source(sets / "paired"), source(sets / "unpaired"), 2, 0, 4, 4)
        return {p: rank for rank, loader in enumerate(ranks) for pairs, _ in read(loader, epoch) for p in pairs}

    assert ranks_of(0) != ranks_of(1)
    assert set(ranks_of(0)) == set(ranks_of(1)) == set(range(48))


@pytest.mark.parametrize(("shards", "world", "workers"), [(7, 2, 3), (3, 2, 2), (1, 1, 4)])
def test_shares_of_unknown_sizes_are_disjoint_and_go_round(shards, world, workers):
    """With more shards than slots and with fewer: one pass holds everything once; W·n passes show a slot everything."""
    slots = [Layout(rank, world, worker, workers, 10, 4) for rank in range(world) for worker in range(workers)]

    def share(slot, number):
        return {
            (segment.shard, position)
            for segment in whole_shards(shards, slot, 0, "x", number)
            for position in range(segment.offset, 12, segment.stride)
        }

    everything = {(shard, position) for shard in range(shards) for position in range(12)}
    for number in (0, 5):
        shares = [share(slot, number) for slot in slots]
        assert sum(map(len, shares)) == len(set().union(*shares)) == len(everything)
    for slot in slots:
        turn = [share(slot, number) for number in range(len(slots))]
        assert set().union(*turn) == everything


def test_unpaired_images_of_unknown_sizes_are_seen_equally_often(sets):
    """A slot reads its share once before it begins the next, so that counts differ by one pass at most."""
    seen = Counter()
    ranks = loaders(source(sets / "paired"), remote(sets / "unpaired", 48, "--unpaired-data"), 2, 0, 4, 8)
    for loader in ranks:
        seen.update(image for _, images in read(loader) for image in images)
    assert len(seen) == 48
    assert set(seen.values()) == {2}  # 2 ranks × 6 steps × 8 images


def test_a_rank_whose_whole_share_is_bad_goes_on_with_the_rest(sets, tmp_path):
    """One of two remote shards holds no image that decodes: the rank that has it takes from the other."""
    for name, content in (("000000", picture), ("000001", lambda i: b"no image")):
        members = []
        for i in range(6):
            members += [(f"{i}.png", content(i)), (f"{i}.txt", f"a tree {i}".encode())]
        write_tar(tmp_path / f"{name}.tar", members)
    for resampled in (False, True):
        for loader in loaders(remote(tmp_path, 12), source(sets / "unpaired"), 2, 0, 2, 2, resampled=resampled):
            for epoch in range(3):
                assert {pair for pairs, _ in read(loader, epoch) for pair in pairs} <= set(range(6))


@pytest.mark.parametrize("resampled", [False, True])
def test_only_bad_remote_shards_are_an_error(resampled, sets, tmp_path):
    for name in ("000000", "000001", "000002"):
        write_tar(tmp_path / f"{name}.tar", [("a.png", b"no image"), ("a.txt", b"a tree")])
    (loader,) = loaders(remote(tmp_path, 12), source(sets / "unpaired"), resampled=resampled)
    with pytest.raises(DataError, match=r"--train-data: no usable sample .* 3 shards; found \d+ × undecodable image"):
        read(loader)


def test_shuffling_starts_early_and_keeps_passes_apart():
    import random

    consumed = []
    items = iter([*range(3000), END_OF_PASS, *range(3000, 3010), END_OF_PASS])
    drawn = shuffled((consumed.append(item) or item for item in items), random.Random(0))
    first = next(drawn)
    assert first < 502
    assert len(consumed) <= 502  # not the whole buffer
    rest = [first, *drawn]
    end = rest.index(END_OF_PASS)
    assert sorted(rest[:end]) == list(range(3000)) != rest[:end]
    assert sorted(rest[end + 1 : -1]) == list(range(3000, 3010))
    assert max(abs(place - item) for place, item in enumerate(rest[:end])) > 1500


def test_a_hundred_thousand_shards(tmp_path):
    """Names, sizes and an order are all that a run holds of its shards: some 20 MB, and one file is opened."""
    folder = tmp_path / "many"
    folder.mkdir()
    count = 100_000
    names = [f"{number:06d}.tar" for number in range(count)]
    (folder / "sizes.json").write_text(json.dumps(dict.fromkeys(names, 1000)))
    for first in range(0, count, 50_000):  # a file has at most 65,000 names
        write_tar(folder / names[first], [("a.png", picture(0)), ("a.txt", b"a tree 0")])
        for name in names[first + 1 : first + 50_000]:
            os.link(folder / names[first], folder / name)
    tracemalloc.start()
    shards = expand(f"{folder}/{{000000..099999}}.tar", "--train-data")
    sizes = count_samples(shards)
    found = ShardSet(shards, sizes)
    config = MixedConfig(found, found, 4, 4, rank=5, world_size=512, seed=1)
    window = next(Passes(sizes, 1, "paired").window(10**8 // 2, 10**8))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.total == 10**8
    assert config.steps == -(-(10**8) // 2048)
    assert window.stop - window.first <= 1000
    assert held < 40e6
    assert len(MixedLoader(config, first_pixel, Words())) == config.steps


def test_the_window_of_one_slot_does_not_walk_through_the_set():
    """Finding where a slot starts in 100,000 shards takes no step per shard: the numbers come from one permutation."""
    sizes = np.full(100_000, 1000)
    passes = Passes(sizes, 0, "x")
    calls = Counter()
    original = passes._pass
    passes._pass = lambda number: calls.update([number]) or original(number)
    segments = list(passes.window(10**8 * 3 + 12345, 10**8 * 3 + 12345 + 2500))
    assert sum(segment.stop - segment.first for segment in segments) == 2500
    assert len(segments) <= 5
    assert set(calls) == {3}
