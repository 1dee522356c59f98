"""Conversions into a store: the same objects as files on the disk, whole or not at all, resumed by what is verified."""

import json

import fsspec
import pytest

from sclip_plugin.cli import main
from sclip_plugin.errors import DataError
from sclip_plugin.storage import objects
from sclip_plugin.storage.location import location
from sclip_plugin.storage.outputs import whole_file, write
from tests.helpers.shards import picture, write_shards
from tests.helpers.stores import BUCKET


@pytest.fixture
def source(tmp_path):
    return write_shards(tmp_path / "source", 30, 2, captions=True)


def held(url):
    """{name below a URL: bytes} of every object."""
    system, path = fsspec.core.url_to_fs(url)
    system.invalidate_cache()
    return {name.removeprefix(path).lstrip("/"): system.cat_file(name) for name in sorted(system.find(path))}


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def convert(source, out, *flags):
    return main(["convert", str(source), "--out", str(out), "--shard-size", "5", "--workers", "2", *flags])


def test_a_store_gets_what_a_folder_gets(store, source, tmp_path, capsys):
    assert convert(source, tmp_path / "here") == convert(source, "scripted://set/there") == 0
    assert held("scripted://set/there") == files(tmp_path / "here")
    assert "--train-data 'scripted://set/there/paired/{000000..000005}.tar'" in capsys.readouterr().out
    assert main(["verify", "scripted://set/there"]) == 0


def test_the_manifest_comes_last_but_for_the_card(store, source, monkeypatch):
    sent = []
    put = store.put_file
    monkeypatch.setattr(store, "put_file", lambda self, local, path: (sent.append(path), put(self, local, path))[1])
    assert convert(source, "scripted://set/there") == 0
    assert [path.rpartition("/")[2] for path in sent[-2:]] == ["manifest.json", "README.md"]
    assert sent[0] == "/set/there/.progress/plan.json"
    assert not any(".progress" in name for name in held("scripted://set"))


class Killed(BaseException):
    """What ends a conversion in a test; nothing catches it."""


def killed_after(number, store, patch):
    """Let the conversion die at a number of objects sent."""
    put, sent = store.put_file, []

    def dying(self, local, path):
        sent.append(path)
        if len(sent) > number:
            raise Killed
        put(self, local, path)

    patch.setattr(store, "put_file", dying)


@pytest.mark.parametrize("number", range(22))
def test_a_killed_conversion_goes_on_with_the_same_bytes(number, store, source, tmp_path):
    assert convert(source, tmp_path / "here") == 0
    with pytest.MonkeyPatch.context() as patch:
        killed_after(number, store, patch)
        with pytest.raises(Killed):
            convert(source, "scripted://set/there")
    assert not any(name.endswith("manifest.json") for name in held("scripted://set/there"))
    assert convert(source, "scripted://set/there") == 0
    assert held("scripted://set/there") == files(tmp_path / "here")


def test_what_was_sent_is_not_sent_again(store, source, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        killed_after(9, store, patch)
        with pytest.raises(Killed):
            convert(source, "scripted://set/there")
    done = {name for name in held("scripted://set/there") if name.endswith(".json") and "plan" not in name}
    assert done
    sent, put = [], store.put_file
    monkeypatch.setattr(store, "put_file", lambda self, local, path: (sent.append(path), put(self, local, path))[1])
    assert convert(source, "scripted://set/there") == 0
    for name in done:
        shard = name.removeprefix(".progress/").removesuffix(".json").replace("-", "/")
        assert f"/set/there/{shard}" not in sent


def test_a_resumed_conversion_trusts_no_size(store, source, tmp_path):
    """Of the shards that are marked as finished one has other bytes of the same length."""
    assert convert(source, tmp_path / "here") == 0
    with pytest.MonkeyPatch.context() as patch:
        killed_after(9, store, patch)
        with pytest.raises(Killed):
            convert(source, "scripted://set/there")
    marked = [name for name in held("scripted://set/there") if name.startswith(".progress/paired")]
    shard = marked[0].removeprefix(".progress/").removesuffix(".json").replace("-", "/")
    whole = held("scripted://set/there")[shard]
    store().pipe_file(f"/set/there/{shard}", bytes(len(whole)))
    assert convert(source, "scripted://set/there") == 0
    assert held("scripted://set/there") == files(tmp_path / "here")


def test_a_finished_set_is_left_alone_and_a_damaged_one_mended(store, source, tmp_path):
    assert convert(source, tmp_path / "here") == convert(source, "scripted://set/there") == 0
    store.calls.clear()
    assert convert(source, "scripted://set/there") == 0
    assert store.calls["put_file"] == 0
    store().pipe_file("/set/there/paired/000001.tar", b"short")
    assert convert(source, "scripted://set/there") == 0
    assert held("scripted://set/there") == files(tmp_path / "here")


def test_other_options_are_refused_and_overwrite_clears(store, source, tmp_path, capsys):
    assert convert(source, "scripted://set/there") == 0
    assert convert(source, "scripted://set/there", "--seed", "1", "--shards", "2") == 2  # excludes --shard-size
    assert convert(source, "scripted://set/there", "--seed", "1") == 1
    assert "was made with other options or input" in capsys.readouterr().err
    assert convert(source, "scripted://set/there", "--seed", "1", "--overwrite") == 0
    assert convert(source, tmp_path / "here", "--seed", "1") == 0
    assert held("scripted://set/there") == files(tmp_path / "here")


def test_a_classification_set_beside_a_training_set(store, tmp_path):
    for number in range(20):
        (tmp_path / "photos" / ("cat", "dog")[number % 2]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number}.png").write_bytes(picture(number))
    kinds = ["--as", "classification", "animals"]
    assert convert(tmp_path / "photos", tmp_path / "here", *kinds) == 0
    assert convert(tmp_path / "photos", "scripted://set/there", *kinds) == 0
    assert held("scripted://set/there") == files(tmp_path / "here")
    assert main(["verify", "scripted://set/there/animals"]) == 0


def test_shards_are_split_from_store_to_store(store, source, tmp_path):
    assert convert(source, "scripted://set/a") == convert(source, tmp_path / "a") == 0
    for root, out in (("scripted://set/a", "scripted://set/b"), (tmp_path / "a", tmp_path / "b")):
        assert main(["split", str(root), "--out", str(out), "--paired-ratio", "0.2", "0.5"]) == 0
    assert held("scripted://set/b") == files(tmp_path / "b")
    assert main(["split", "scripted://set/a", "--out", "scripted://set/a/"]) == 2


def test_a_file_that_fails_is_not_sent(store):
    place = location("scripted://set/0.tar")
    with pytest.raises(ZeroDivisionError), whole_file(place) as file:
        file.write(b"half" * (1 // 0))
    assert held("scripted://set") == {}
    write(place, "whole")
    assert held("scripted://set") == {"0.tar": b"whole"}


def test_a_store_without_access_is_one_line(store, pauses, monkeypatch):
    def refusing(self, local, path):
        raise PermissionError("read only")

    monkeypatch.setattr(store, "put_file", refusing)
    with pytest.raises(DataError, match=r"^scripted://set/0\.tar: read only$"):
        write(location("scripted://set/0.tar"), b"x")


def test_an_object_that_arrives_short_is_sent_again(store, pauses, monkeypatch, caplog):
    put, tries = store.put_file, []

    def losing(self, local, path):
        put(self, local, path)
        tries.append(path)
        if len(tries) == 1:
            self.pipe_file(path, b"x")

    monkeypatch.setattr(store, "put_file", losing)
    write(location("scripted://set/0.tar"), b"whole")
    assert held("scripted://set") == {"0.tar": b"whole"}
    assert "the store has 1 of 5 bytes" in caplog.text


def test_the_web_cannot_be_written(source, capsys):
    assert convert(source, "https://example.org/x") == 2
    assert "--out: https:// cannot be written to" in capsys.readouterr().err


def test_s3_gets_what_a_folder_gets(s3, source, tmp_path):
    assert convert(source, tmp_path / "here") == convert(source, f"s3://{BUCKET}/made") == 0
    assert held(f"s3://{BUCKET}/made") == files(tmp_path / "here")
    assert convert(f"s3://{BUCKET}/made/paired", f"s3://{BUCKET}/again") == 0
    assert convert(tmp_path / "here" / "paired", tmp_path / "again") == 0
    assert held(f"s3://{BUCKET}/again") == files(tmp_path / "again")
    manifest = json.loads(objects.read(f"s3://{BUCKET}/made/manifest.json"))
    assert len(manifest["shards"]) > 5
