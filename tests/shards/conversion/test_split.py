"""Keys, the split and the order, on an index without any image file."""

from collections import Counter

import pytest

from sclip_plugin.errors import DataError
from sclip_plugin.shards.conversion.examine import find_equal
from sclip_plugin.shards.conversion.index import SampleIndex
from sclip_plugin.shards.conversion.plan import cut, shard_count
from sclip_plugin.shards.conversion.split import (
    HELD_OUT_BARE,
    NOT_READ_HERE,
    SAME_BYTES,
    UNPAIRED_GROUP,
    Ratios,
    assign_keys,
    split,
)
from sclip_plugin.shards.engines.local import Threads
from sclip_plugin.shards.images import Verdict
from sclip_plugin.shards.locator import FileImage
from sclip_plugin.shards.sample import Sample, Tally


def some(count: int, captions: bool = True, **fields) -> list[Sample]:
    return [Sample(f"{n}.jpg", FileImage(f"{n}.jpg"), ["x"] if captions else [], **fields) for n in range(count)]


@pytest.fixture
def index_of(tmp_path):
    made = []

    def index(samples: list[Sample], origins=None, fingerprint: bytes | None = None) -> SampleIndex:
        found = SampleIndex(tmp_path / f"{len(made)}.sqlite")
        made.append(found)
        for number, sample in enumerate(samples):
            found.add(sample, Tally(), origins[number] if origins else 0)
        found.judge([(n, Verdict("jpg", "", 1, fingerprint or b"%d" % n)) for n in range(1, len(samples) + 1)])
        assign_keys(found)
        return found

    yield index
    for one in made:
        one.close()


def placed(index: SampleIndex) -> dict[str, list[Sample]]:
    """{part: its samples in their order}."""
    return {part: list(index.placed(part, 0, number)) for part, number in index.place(0).items()}


def names(index: SampleIndex) -> dict[str, set[str]]:
    """{part: names of its samples}."""
    return {part: {sample.source for sample in samples} for part, samples in placed(index).items()}


def test_sizes_of_the_parts(index_of):
    index = index_of(some(200))
    split(index, Ratios(0.1, 0.3, 0), Counter())
    assert {name: len(part) for name, part in names(index).items()} == {"paired": 54, "unpaired": 126, "val": 20}


def test_more_images_move_few_of_the_others(index_of):
    found = []
    for number in (1000, 1010):
        index = index_of(some(number))
        split(index, Ratios(0.1, 0.5, 0), Counter())
        found.append(names(index))
    few, many = found
    assert len(few["val"] - many["val"]) <= 3
    assert len(few["paired"] - many["paired"]) <= 12


def test_at_least_one_pair_is_kept(index_of):
    index = index_of(some(5))
    split(index, Ratios(0, 0.01, 0), Counter())
    assert len(names(index)["paired"]) == 1


def with_splits() -> list[Sample]:
    samples = [*some(20, split="train"), Sample("bare.jpg", FileImage("bare.jpg"), split="test")]
    for sample in samples[:4]:
        sample.split = "test"
    samples[4].split = "val"
    return samples


def test_the_sources_own_split_is_taken(index_of):
    index = index_of(with_splits())
    skipped = Counter()
    split(index, Ratios(0.5, 1, 0), skipped)
    assert names(index)["val"] == {f"{n}.jpg" for n in range(5)}
    assert +skipped == {HELD_OUT_BARE: 1}


def test_what_is_neither_held_out_nor_train_is_left_out(index_of):
    index = index_of(with_splits())
    skipped = Counter()
    split(index, Ratios(0.5, 1, 0, ("test",)), skipped)
    parts = names(index)
    assert (parts["val"], len(parts["paired"])) == ({f"{n}.jpg" for n in range(4)}, 15)
    assert +skipped == {HELD_OUT_BARE: 1, NOT_READ_HERE.format("val"): 1}


def test_a_source_that_holds_out_nothing_is_split_by_ratio(index_of):
    index = index_of(some(20, split="train"))
    split(index, Ratios(0.2, 1, 0), Counter())
    assert {name: len(part) for name, part in names(index).items()} == {"paired": 16, "val": 4}


def test_the_sources_own_split_can_be_ignored(index_of):
    index = index_of(with_splits())
    skipped = Counter()
    split(index, Ratios(0.5, 1, 0, None), skipped)
    parts = names(index)
    assert {name: len(part) for name, part in parts.items()} == {"paired": 10, "val": 10, "unpaired": 1}
    assert not +skipped


def test_the_ratio_counts_for_sources_without_a_split(index_of):
    plain = some(10)
    other = [
        Sample(f"b/{n}.jpg", FileImage(f"b/{n}.jpg"), ["x"], split="test" if n < 3 else "train") for n in range(10)
    ]
    index = index_of(plain + other, [0] * 10 + [1] * 10)
    split(index, Ratios(0.2, 1, 0), Counter())
    val = names(index)["val"]
    assert {name for name in val if name.startswith("b/")} == {f"b/{n}.jpg" for n in range(3)}
    assert len(val) == 5


def test_a_captionless_image_of_a_group_in_val_is_left_out(index_of):
    index = index_of([*some(2, group="g"), Sample("bare.jpg", FileImage("bare.jpg"), group="g")])
    skipped = Counter()
    split(index, Ratios(0.5, 1, 0), skipped)
    assert "unpaired" not in names(index)
    assert +skipped == {UNPAIRED_GROUP: 1}


def test_images_of_val_that_are_in_training_too_are_left_out(index_of, tmp_path):
    samples = [Sample(f"{n}.jpg", FileImage(str(tmp_path / f"{n}.jpg")), ["x"]) for n in range(8)]
    for number in range(8):
        (tmp_path / f"{number}.jpg").write_bytes(b"%d" % (number % 4))
    for sample in samples[:4]:
        sample.split = "test"
    samples[7].image = FileImage(str(tmp_path / "3.copy"))
    (tmp_path / "3.copy").write_bytes(b"9")
    index = index_of(samples, fingerprint=b"same")
    tally, skipped = Tally(), Counter()
    equal = find_equal(index, Threads(2), tally)
    assert equal == [["0.jpg", "4.jpg"], ["1.jpg", "5.jpg"], ["2.jpg", "6.jpg"]]
    assert sum(tally.notes.values()) == 3
    split(index, Ratios(0, 1, 0), skipped)
    parts = names(index)
    assert parts == {"val": {"3.jpg"}, "paired": {"4.jpg", "5.jpg", "6.jpg", "7.jpg"}}
    assert +skipped == {SAME_BYTES: 3}


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
    assert cut(11, 4) == [(0, 2), (2, 5), (5, 8), (8, 11)]
    assert cut(0, 0) == []


def test_keys(index_of):
    sources = ("a/b.jpg", "a_b.jpg", "C.jpg", "c.jpg", "plain-1.png")
    index = index_of([Sample(name, FileImage(name)) for name in sources])
    split(index, Ratios(0, 1, 0), Counter())
    keys = {sample.source: sample.key for sample in placed(index)["unpaired"]}
    assert keys["plain-1.png"] == "plain-1"
    assert len({key.lower() for key in keys.values()}) == 5
    with pytest.raises(DataError, match=r"two images of the same key: x/a\.jpg and x/a\.png"):
        index_of([Sample(name, FileImage(name)) for name in ("x/a.png", "x/a.jpg")])


def test_one_name_for_two_images_is_refused(tmp_path):
    index = SampleIndex(tmp_path / "i.sqlite")
    index.add(Sample("a.jpg", FileImage("x/a.jpg")), Tally())
    with pytest.raises(DataError, match=r"two images of the same key: x/a\.jpg and y/a\.jpg"):
        index.add(Sample("a.jpg", FileImage("y/a.jpg")), Tally())
    index.close()


def test_memory_does_not_grow_with_the_samples(tmp_path):
    """20,000 samples with 16 MB of text pass through index, split and order; Python never holds much of it."""
    import tracemalloc

    index, tally, count = SampleIndex(tmp_path / "big.sqlite"), Tally(), 20_000
    tracemalloc.start()
    try:
        for n in range(count):
            index.add(Sample(f"folder/{n:06d}.jpg", FileImage(f"/x/{n:06d}.jpg"), [f"{n} " + "word " * 160]), tally)
        for some in index.uninspected(256):
            index.judge([(number, Verdict("jpg", "", number)) for number, _ in some])
        assign_keys(index)
        split(index, Ratios(0.1, 0.5, 0), tally.skipped_images)
        parts = index.place(0)
        letters = sum(len(sample.captions[0]) for part in parts for sample in index.placed(part, 0, parts[part]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        index.close()
    assert sum(parts.values()) == count
    assert letters > 16e6
    assert peak < 3e6
