"""Our own shards as a source, damaged: `sclip split` counts what it must leave out, and names a damaged manifest."""

import json

import pytest

from sclip_plugin.cli import main
from tests.helpers import formats as fixtures
from tests.helpers.conversion import check_counts, convert, image, manifest, members, source

DEEP = b"[" * 100_000 + b"]" * 100_000


def about(number: int, **more: object) -> bytes:
    return json.dumps({"captions": [f"text {number}"], "source": f"{number}.jpg", **more}).encode()


@pytest.fixture
def shards(tmp_path):
    """A folder that `sclip convert` wrote."""
    root = source(tmp_path, captioned=6, bare=2)
    assert convert(root, tmp_path / "full", "--val-ratio", 0) == 0
    return tmp_path / "full"


def split(folder, capsys) -> tuple[int, str]:
    capsys.readouterr()
    status = main(["split", str(folder), "--out", str(folder.parent / "out"), "--paired-ratio", "1"])
    error = capsys.readouterr().err
    assert error.count("\n") == (status != 0), error
    return status, error


def test_damaged_members_are_counted(shards, capsys):
    found = [
        *(("a.jpg", image(1)), ("a.json", about(1))),
        *(("b.jpg", image(2)), ("b.json", DEEP)),
        *(("c.jpg", image(3)), ("c.json", about(3, source=5))),
        *(("d.jpg", image(4)), ("d.json", about(4, captions=5))),
        *(("e.jpg", image(5)), ("e.json", about(5, group=["x"]))),
        *(("f.jpg", image(6)), ("f.json", about(6, label={}, captions=["x", 7]))),
        ("g.json", about(7)),
    ]
    fixtures.tar_of(shards / "paired/000000.tar", found)
    assert split(shards, capsys)[0] == 0
    counts = check_counts(shards.parent / "out")
    assert counts["images"]["written"] == {"paired": 2, "unpaired": 3}
    assert counts["images"]["skipped"] == {
        "group that is neither text nor a number": 1,
        "no image in its sample": 1,
        "no source in its .json": 2,
    }
    assert counts["captions"]["skipped"] == {
        "caption that is not text": 2,
        "group that is neither text nor a number (its image)": 1,
        "no image in its sample (its image)": 1,
        "no source in its .json (its image)": 1,
    }
    assert counts["notes"]["member .json that is not a JSON object: not read"] == 1
    assert set(members(shards.parent / "out/paired")) == {"a", "f"}


@pytest.mark.parametrize(
    "change",
    [
        b"",
        b"\xff",
        DEEP,
        b"[1]",
        b"{}",
        {"plan": 5},
        {"plan": None},
        {"counts": 5},
        {"counts": {"captions": []}},
        {"counts": {"captions": {"skipped": [1]}}},
        {"counts": {"captions": {"skipped": {"hidden by --paired-ratio": "x"}}}},
    ],
)
def test_a_damaged_manifest_is_named(shards, capsys, change):
    content = change if isinstance(change, bytes) else json.dumps({**manifest(shards), **change}).encode()
    (shards / "manifest.json").write_bytes(content)
    status, error = split(shards, capsys)
    assert status == 1
    assert "full/manifest.json: " in error
    assert not (shards.parent / "out").exists()


def test_two_samples_of_one_key_are_refused_by_their_places(shards, capsys):
    found = [(f"a.{one}", data) for one, data in (("jpg", image(1)), ("json", about(1)))]
    fixtures.tar_of(shards / "paired/000000.tar", found)
    fixtures.tar_of(shards / "paired/000001.tar", [(name.replace("a.", "A."), data) for name, data in found])
    status, error = split(shards, capsys)
    assert status == 1
    assert f"two samples of the same key: {shards}/paired/000001.tar: A, before in paired/000000.tar" in error
