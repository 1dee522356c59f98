"""Samples to look at, out of real shards."""

import pytest

from sclip_plugin.data.shard_list import expand
from sclip_plugin.errors import DataError
from sclip_plugin.inspection.pictures import read_pictures
from tests.helpers.shards import picture, write_tar


def test_unusable_samples_are_passed_over_and_an_empty_set_is_named(tmp_path):
    members = [("a.png", picture(1)[:50]), ("b.txt", b"no image"), ("c.png", picture(2)), ("c.txt", b"a tree")]
    write_tar(tmp_path / "0.tar", members)
    assert len(read_pictures(expand(str(tmp_path), "--x"), 5, paired=False)) == 1
    write_tar(tmp_path / "0.tar", members[:2])
    with pytest.raises(DataError, match="--x: no usable sample in 1 shards; found 1 × undecodable image, 1 × no image"):
        read_pictures(expand(str(tmp_path), "--x"), 5, paired=False)


def test_shards_are_taken_in_turn_and_a_pair_needs_a_caption(tmp_path):
    for shard in range(2):
        keys = [f"s{shard}{n}" for n in range(3)]
        members = [(f"{key}.png", picture(10 * shard + n)) for n, key in enumerate(keys)]
        members.insert(1, (f"{keys[0]}.txt", f"first of shard {shard}".encode()))
        write_tar(tmp_path / f"{shard}.tar", members)
    shards = expand(str(tmp_path), "--x")
    unpaired = read_pictures(shards, 3, paired=False)
    assert [found.data for found in unpaired] == [picture(0), picture(10), picture(1)]
    assert {found.captions for found in unpaired} == {()}
    pairs = read_pictures(shards, 3, paired=True)
    assert [found.captions for found in pairs] == [("first of shard 0",), ("first of shard 1",)]
