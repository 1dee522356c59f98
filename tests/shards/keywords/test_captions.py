"""Reading the captions of a shard: whole samples, and streams that are closed."""

import sys

import pytest
import webdataset.gopen  # noqa: F401  (its function is replaced in the table of modules)

from sclip_plugin.cli import main
from sclip_plugin.errors import DataError
from sclip_plugin.shards.keywords.captions import read_captions, spooled
from tests.helpers.shards import write_tar

PAIR = [("a.json", b'{"captions": ["one", "two"]}'), ("a.txt", b"one")]


@pytest.mark.parametrize("form", ["{}", "pipe:cat {}"])
def test_a_member_without_a_key_does_not_split_its_sample(tmp_path, form):
    write_tar(tmp_path / "x.tar", [PAIR[0], ("README", b"no sample has me"), PAIR[1]])
    assert list(read_captions(form.format(tmp_path / "x.tar"))) == ["one", "two"]


@pytest.fixture
def opened(monkeypatch):
    """The streams that webdataset's `gopen` has opened."""
    streams = []

    def gopen(url):
        streams.append(open(url.removeprefix("pipe:cat "), "rb"))  # noqa: SIM115 (the code under test closes it)
        return streams[-1]

    monkeypatch.setattr(sys.modules["webdataset.gopen"], "gopen", gopen)
    return streams


def write_many(path) -> str:
    """Write a shard of ten pairs; returns its URL."""
    write_tar(path, [(name.replace("a", f"a{n}"), data) for n in range(10) for name, data in PAIR])
    return f"pipe:cat {path}"


def test_the_stream_is_closed_after_reading(tmp_path, opened):
    assert list(read_captions(write_many(tmp_path / "x.tar"))) == ["one", "two"] * 10
    assert [stream.closed for stream in opened] == [True]


def test_the_stream_is_closed_after_an_early_stop(tmp_path, opened):
    found = read_captions(write_many(tmp_path / "x.tar"))
    assert next(found) == "one"
    assert [stream.closed for stream in opened] == [False]
    found.close()
    assert [stream.closed for stream in opened] == [True]


@pytest.mark.parametrize("damage", ["cut short", "no tar"])
def test_the_stream_is_closed_after_an_error(tmp_path, opened, damage):
    url = write_many(tmp_path / "x.tar")
    whole = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(whole[: 512 * 9 + 100] if damage == "cut short" else b"no tar" * 1000)
    with pytest.raises(DataError, match=r"x\.tar: "):
        list(read_captions(url))
    assert [stream.closed for stream in opened] == [True]


def test_spooled_captions_can_be_read_again(tmp_path):
    urls = [str(tmp_path / f"{n}.tar") for n in range(2)]
    for url in urls:
        write_tar(tmp_path / url, PAIR)
    with spooled(urls) as captions:
        assert len(captions) == 4
        for _ in range(2):
            assert list(captions) == ["one", "two"] * 2
    write_tar(tmp_path / "bare.tar", [("a.jpg", b"x")])
    bare = [str(tmp_path / "bare.tar")]
    with pytest.raises(DataError, match=r"mine: no captions in 1 shards"), spooled(bare, "mine"):
        pass


def test_samples_without_captions_are_counted(tmp_path, capsys):
    deep = b'{"captions": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    damaged = [b'{"captions": 5}', deep, b'{"captions": [5]}', b'{"captions": [" "]}', b"\xff"]
    members = [(f"{n}.json", one) for n, one in enumerate(damaged)]
    write_tar(tmp_path / "x.tar", [*PAIR, *members, ("t.txt", b"  "), ("s.json", b'{"captions": ["\\ud800 tree"]}')])
    with spooled([str(tmp_path / "x.tar")]) as captions:
        assert list(captions) == ["one", "two", "? tree"]
        assert captions.skipped == {"no caption": 4, "empty caption": 2}
    assert main(["keywords", str(tmp_path / "x.tar"), "--out", str(tmp_path / "k.txt"), "--method", "frequency"]) == 0
    assert "samples skipped: 4 (no caption)" in capsys.readouterr().out


def test_a_size_that_no_file_has_is_refused(tmp_path, capsys):
    write_tar(tmp_path / "x.tar", PAIR)
    data = bytearray((tmp_path / "x.tar").read_bytes())
    data[124:136] = b"\x80" + (10**26 % 2**88).to_bytes(11, "big")
    (tmp_path / "x.tar").write_bytes(data)
    assert main(["keywords", str(tmp_path / "x.tar"), "--out", str(tmp_path / "k.txt")]) == 1
    error = capsys.readouterr().err
    assert "x.tar: " in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("captions", [1, 5000])  # the disk is full when the file is flushed, or before
def test_a_full_disk_is_one_line(tmp_path, capsys, monkeypatch, captions):
    write_tar(tmp_path / "x.tar", [(f"{n}.txt", b"a caption of some length") for n in range(captions)])
    full = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115 (the code under test closes it)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda *_, **__: full)
    assert main(["keywords", str(tmp_path / "x.tar"), "--out", str(tmp_path / "k.txt")]) == 1
    error = capsys.readouterr().err
    assert "temporary file: No space left on device" in error
    assert error.count("\n") == 1
