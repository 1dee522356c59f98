"""The split and the keys, without any file."""

from collections import Counter

import pytest

from sclip_plugin.errors import DataError
from sclip_plugin.shards.plan import UNPAIRED_GROUP, assign_keys, cut, shard_count, split
from sclip_plugin.shards.readers.base import FileImage, Sample


def some(count: int, captions: bool = True, **fields) -> list[Sample]:
    return [Sample(f"{n}.jpg", FileImage(f"{n}.jpg"), ["x"] if captions else [], **fields) for n in range(count)]


def names(parts: dict) -> dict[str, set[str]]:
    return {name: {sample.source for sample in part} for name, part in parts.items()}


def test_sizes_of_the_parts():
    parts = split(some(200), val=0.1, paired=0.3, seed=0, skipped=Counter())
    assert {name: len(part) for name, part in parts.items()} == {"paired": 54, "unpaired": 126, "val": 20}


def test_more_images_move_few_of_the_others():
    few, many = (names(split(some(n), 0.1, 0.5, 0, Counter())) for n in (1000, 1010))
    assert len(few["val"] - many["val"]) <= 3
    assert len(few["paired"] - many["paired"]) <= 12


def test_at_least_one_pair_is_kept():
    assert len(split(some(5), 0, 0.01, 0, Counter())["paired"]) == 1


def test_the_sources_own_split_is_taken():
    samples = some(20)
    for sample in samples[:4]:
        sample.split = "test"
    assert names(split(samples, 0.5, 1, 0, Counter()))["val"] == {f"{n}.jpg" for n in range(4)}


def test_a_captionless_image_of_a_group_in_val_is_left_out():
    samples = [*some(2, group="g"), Sample("bare.jpg", FileImage("bare.jpg"), group="g")]
    skipped = Counter()
    parts = split(samples, 0.5, 1, 0, skipped)
    assert not parts["unpaired"]
    assert skipped == {UNPAIRED_GROUP: 1}


@pytest.mark.parametrize(
    ("samples", "options", "expected"),
    [
        (0, {}, 0),
        (3, {}, 1),
        (8, {}, 2),
        (16, {}, 4),
        (4000, {}, 4),
        (4001, {}, 5),
        (10, {"shards": 20}, 10),
        (10, {"size": 3}, 4),
    ],
)
def test_shard_count(samples, options, expected):
    assert shard_count(samples, **options) == expected


def test_cut_is_even_and_complete():
    samples = some(11)
    parts = cut(samples, 4)
    assert [sample for part in parts for sample in part] == samples
    assert {len(part) for part in parts} == {2, 3}
    assert cut([], 0) == []


def test_keys():
    samples = [Sample(name, FileImage(name)) for name in ("a/b.jpg", "a_b.jpg", "C.jpg", "c.jpg", "plain-1.png")]
    assign_keys(samples)
    keys = [sample.key for sample in samples]
    assert keys[4] == "plain-1"
    assert len({key.lower() for key in keys}) == 5
    with pytest.raises(DataError, match="two images of the same key: x/a.jpg and x/a.png"):
        assign_keys([Sample(name, FileImage(name)) for name in ("x/a.jpg", "x/a.png")])
