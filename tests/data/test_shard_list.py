"""How many samples shards hold: `sizes.json` beside local and remote shards, and what is said where it is missing."""

import json

import fsspec
import pytest

from sclip_plugin.data.shard_list import count_samples, expand, look_up_sizes
from sclip_plugin.errors import DataError


@pytest.fixture
def remote():
    """A folder of a remote file system; a function that writes its `sizes.json`."""
    memory = fsspec.filesystem("memory")
    memory.pipe("/set/0.tar", b"")
    yield lambda text: memory.pipe("/set/sizes.json", text.encode())
    memory.rm("/set", recursive=True)


def test_sizes_beside_remote_shards_count(remote):
    remote(json.dumps({"0.tar": 3, "1.tar": 4}))
    shards = expand("memory://set/{0..1}.tar", "--train-data")
    assert count_samples(shards).tolist() == [3, 4]
    assert look_up_sizes(shards)[1] == ""


def test_local_and_remote_shards_together(remote, shards):
    remote(json.dumps({"0.tar": 3}))
    both = expand(f"memory://set/0.tar::{shards / 'paired'}", "--train-data")
    assert count_samples(both).tolist() == [3, 10, 10, 10, 10]


def test_what_is_missing_beside_remote_shards_is_said(remote):
    shards = expand("memory://set/{0..1}.tar", "--train-data")
    assert look_up_sizes(shards) == (None, "there is no memory://set/sizes.json")
    remote(json.dumps({"0.tar": 3}))
    assert look_up_sizes(shards) == (None, "memory://set/sizes.json does not list 1.tar")


def test_a_file_system_that_cannot_be_reached_is_said():
    sizes, reason = look_up_sizes(expand("nosuchprotocol://bucket/0.tar", "--train-data"))
    assert sizes is None
    assert reason.startswith("nosuchprotocol://bucket/sizes.json cannot be read (Protocol not known: nosuchprotocol")


def test_shards_behind_a_pipe_have_no_sizes():
    sizes, reason = look_up_sizes(expand("pipe:cat x/0.tar", "--train-data"))
    assert sizes is None
    assert reason == "'pipe:cat x/0.tar' is a pipe, beside which there is no sizes.json"


@pytest.mark.parametrize("text", ["[1]", "{", '{"0.tar": "many"}', '{"0.tar": -1}'])
def test_a_remote_table_that_is_none_is_refused(remote, text):
    remote(text)
    with pytest.raises(DataError, match=r"--train-data: memory://set/sizes\.json (is not a table|has a negative)"):
        count_samples(expand("memory://set/0.tar", "--train-data"))
