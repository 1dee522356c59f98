"""Looking, listing and reading in stores; files in blocks; locations with the methods of paths."""

import random
from pathlib import Path

import pytest

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.storage import objects
from sclip_plugin.storage.copies import on_disk
from sclip_plugin.storage.location import RemotePath, inside, location, tars
from sclip_plugin.storage.remote_file import RemoteFile
from sclip_plugin.storage.urls import EXTRAS, filesystem, is_url, plain, scheme
from sclip_plugin.toml import load_toml

CONTENT = bytes(range(256)) * 4


@pytest.fixture
def folder(store):
    """set/ with 0.tar, sizes.json and deep/1.tar."""
    for name in ("0.tar", "sizes.json", "deep/1.tar"):
        store().pipe_file(f"/set/{name}", CONTENT)
    store.calls.clear()
    return RemotePath("scripted://set")


def test_urls_are_told_from_paths_and_pipes():
    assert is_url("s3://bucket/0.tar")
    assert is_url("HF+x.1://y")
    assert not any(map(is_url, ("pipe:cat s3://x", "shards/{0..1}.tar", "aid=s3://x", "C:/x", "simplecache::s3://x")))
    assert (scheme("S3://x"), scheme("x")) == ("s3", "")
    assert plain("file:///a/b") == "/a/b"
    assert str(location("local:///a/b/")) == "/a/b"
    assert location("s3://b/x/") == RemotePath("s3://b/x")


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(UsageError, match=r"^gs://b/x: gs:// needs a package .* pip install 'sclip-plugin\[gcs\]'$"):
        filesystem("gs://b/x")


def test_every_extra_that_is_named_exists():
    declared = load_toml(Path(__file__).parents[2] / "pyproject.toml")["project"]["optional-dependencies"]
    assert set(EXTRAS.values()) <= set(declared)


def test_an_unknown_scheme_is_refused():
    with pytest.raises(DataError, match="nosuch://b/x: Protocol not known: nosuch"):
        filesystem("nosuch://b/x")


def test_a_listing_is_one_request(folder, store):
    found = objects.listed(str(folder))
    assert [(one.name, one.size, one.folder) for one in found] == [
        ("0.tar", 1024, False),
        ("deep", None, True),
        ("sizes.json", 1024, False),
    ]
    assert store.calls == {"ls": 1}


def test_an_object_is_no_folder(folder):
    with pytest.raises(NotADirectoryError, match=r"0\.tar: an object, not a folder"):
        objects.listed(f"{folder}/0.tar")
    with pytest.raises(FileNotFoundError, match="none: no such object"):
        objects.listed(f"{folder}/none")


def test_locations_answer_as_paths_do(folder):
    shard = folder / "deep" / "1.tar"
    assert (shard.name, shard.parent, str(shard)) == ("1.tar", folder / "deep", "scripted://set/deep/1.tar")
    assert RemotePath("s3://b").parent == RemotePath("s3://b")
    assert shard.is_file()
    assert not shard.is_dir()
    assert folder.is_dir()
    assert not (folder / "none").exists()
    assert shard.stat().st_size == len(CONTENT)
    assert (folder / "sizes.json").read_text("latin-1") == CONTENT.decode("latin-1")
    assert tars(folder) == [folder / "0.tar"]
    assert tars(folder / "none") == []
    assert list(folder.glob("*/*.tar")) == [shard]
    assert list(folder.glob("deep/1.tar")) == [shard]
    assert list(folder.glob("deep/2.tar")) == []
    assert inside(shard, folder) == "deep/1.tar"
    with pytest.raises(ValueError, match="is not below"):
        shard.relative_to(RemotePath("scripted://se"))


@pytest.mark.parametrize("block", [1, 7, 100, 5000])
def test_a_file_in_blocks_reads_as_its_bytes(block, folder):
    rng = random.Random(block)
    with RemoteFile(f"{folder}/0.tar", block) as file:
        for _ in range(50):
            at, length = rng.randrange(1100), rng.choice([0, 1, 10, 300, -1])
            assert file.seek(at) == at
            expected = CONTENT[at:] if length < 0 else CONTENT[at : at + length]
            assert file.read(length) == expected
            assert file.tell() == at + len(expected)
        assert file.seek(-4, 2) == 1020
        assert file.seek(2, 1) == 1022
        buffer = bytearray(9)
        assert file.readinto(buffer) == 2
        assert buffer[:2] == CONTENT[-2:]


def test_a_file_is_asked_for_its_size_once_and_for_each_block_once(folder, store):
    with RemoteFile(f"{folder}/0.tar", 256) as file:
        while file.read(10):
            pass
    assert store.calls == {"info": 1, "cat_file": 4}


def test_a_server_without_ranges_sends_everything_once(folder, store, monkeypatch):
    whole = store.cat_file
    monkeypatch.setattr(store, "cat_file", lambda self, path, start=None, end=None: whole(self, path))
    with RemoteFile(f"{folder}/0.tar", 100) as file:
        file.seek(500)
        assert file.read() == CONTENT[500:]
        file.seek(0)
        assert file.read() == CONTENT
    assert store.calls["cat_file"] == 1


def test_an_object_of_unknown_size_is_held_in_memory(folder, store, monkeypatch):
    monkeypatch.setattr(store, "info", lambda self, path: {"name": path, "size": None, "type": "file"})
    with RemoteFile(f"{folder}/0.tar", 100) as file:
        assert file.size == len(CONTENT)
        assert file.read() == CONTENT


def test_a_copy_on_the_disk_is_removed(folder, tmp_path):
    with on_disk(folder / "0.tar") as copy:
        assert copy.name == "0.tar"
        assert copy.read_bytes() == CONTENT
    assert not copy.parent.exists()
    own = tmp_path / "own.tar"
    own.write_bytes(b"x")
    with on_disk(own) as same:
        assert same == own
    assert own.exists()
