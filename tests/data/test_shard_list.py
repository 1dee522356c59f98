"""How many samples shards hold: `sizes.json` beside local and remote shards, and what is said where it is missing."""

import json

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile

from sclip_plugin.data.shard_list import count_samples, expand, look_up_sizes
from sclip_plugin.errors import DataError
from tests.helpers.stores import ScriptedFileSystem


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


def test_an_unknown_file_system_is_refused():
    with pytest.raises(DataError, match="nosuchprotocol://bucket/0.tar: Protocol not known: nosuchprotocol"):
        expand("nosuchprotocol://bucket/0.tar", "--train-data")


def test_a_folder_of_a_store_stands_for_its_shards(remote):
    remote(json.dumps({"0.tar": 3}))
    fsspec.filesystem("memory").pipe("/set/deep/1.tar", b"")
    found = expand("memory://set/", "--train-data")
    assert found.urls == ["memory://set/0.tar"]
    assert expand("memory://set::memory://set/deep", "--train-data").urls[1] == "memory://set/deep/1.tar"
    with pytest.raises(DataError, match="--train-data: memory://none: no such object"):
        expand("memory://none", "--train-data")
    fsspec.filesystem("memory").pipe("/set/shard-without-suffix", b"x")
    assert expand("memory://set/shard-without-suffix", "--train-data").urls == ["memory://set/shard-without-suffix"]


def test_a_file_url_is_a_path(shards):
    found = expand(f"file://{shards / 'paired'}", "--train-data")
    assert found.urls == expand(str(shards / "paired"), "--train-data").urls
    assert count_samples(found).tolist() == [10, 10, 10, 10]


@pytest.mark.parametrize("pattern", ["scripted://set", "scripted://set/{000000..009999}.tar"])
def test_many_shards_of_a_store_are_not_asked_about_one_by_one(pattern):
    fsspec.register_implementation("scripted", ScriptedFileSystem, clobber=True)
    ScriptedFileSystem.forget()
    store = ScriptedFileSystem()
    for number in range(10_000):
        store.store[f"/set/{number:06d}.tar"] = MemoryFile(store, f"/set/{number:06d}.tar")
    store.pipe_file("/set/sizes.json", json.dumps({f"{n:06d}.tar": 7 for n in range(10_000)}).encode())
    store.calls.clear()
    assert count_samples(expand(pattern, "--train-data")).sum() == 70_000
    assert store.calls.total() <= 2
    ScriptedFileSystem.forget()


def test_shards_behind_a_pipe_have_no_sizes():
    sizes, reason = look_up_sizes(expand("pipe:cat x/0.tar", "--train-data"))
    assert sizes is None
    assert reason == "'pipe:cat x/0.tar' is a pipe, beside which there is no sizes.json"


@pytest.mark.parametrize("text", ["[1]", "{", '{"0.tar": "many"}', '{"0.tar": -1}'])
def test_a_remote_table_that_is_none_is_refused(remote, text):
    remote(text)
    with pytest.raises(DataError, match=r"--train-data: memory://set/sizes\.json (is not a table|has a negative)"):
        count_samples(expand("memory://set/0.tar", "--train-data"))
