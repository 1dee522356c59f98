"""Archives as sources: nothing is unpacked, and what must not be used is counted."""

import json
import tarfile

import pytest

from sclip_plugin.cli import main
from tests.helpers import formats as fixtures
from tests.helpers.conversion import check_counts, image, members, sources


def convert(source, out, *flags) -> int:
    return main(["convert", str(source), "--out", str(out), "--val-ratio", "0", *map(str, flags)])


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_members_that_lead_out_and_links_are_counted(tmp_path):
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(image(77))
    found = [
        ("good.jpg", image(1)),
        ("good.txt", b"a tree"),
        ("../evil.jpg", image(2)),
        ("../evil.txt", b"evil"),
        (str(secret), image(3)),
        ("a/../../b.jpg", image(4)),
        special("link.jpg", tarfile.SYMTYPE, str(secret)),
        special("hard.jpg", tarfile.LNKTYPE, "good.jpg"),
        special("pipe.jpg", tarfile.FIFOTYPE),
        special("folder", tarfile.DIRTYPE),
    ]
    fixtures.tar_of(tmp_path / "in/x.tar", found)
    assert convert(tmp_path / "in", tmp_path / "out") == 0
    assert sources(tmp_path / "out/paired") == {"good.jpg"}
    notes = check_counts(tmp_path / "out")["notes"]
    assert notes == {
        "member skipped: name leads out of the archive": 4,
        "member skipped: link or device in the archive": 3,
    }
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out", "secret.jpg"}


def test_names_are_made_into_keys(tmp_path):
    names = ["a b", "été", "UPPER", "deep/er/x", "x" * 120]
    found = [
        one for n, name in enumerate(names) for one in ((f"{name}.JPG", image(n)), (f"{name}.txt", b"text %d" % n))
    ]
    fixtures.tar_of(tmp_path / "in/x.tar", found)
    assert convert(tmp_path / "in", tmp_path / "out") == 0
    keys = members(tmp_path / "out/paired")
    assert len(keys) == len(names)
    assert all(key.isascii() and "/" not in key and "." not in key and len(key) <= 80 for key in keys)
    assert main(["verify", str(tmp_path / "out")]) == 0


def test_one_key_twice_in_a_tar_is_refused(tmp_path, capsys):
    found = [("a.jpg", image(1)), ("b.jpg", image(2)), ("a.jpg", image(3))]
    fixtures.tar_of(tmp_path / "in/x.tar", found)
    assert convert(tmp_path / "in", tmp_path / "out") == 1
    assert "two images of the same key" in capsys.readouterr().err


def test_keys_that_start_again_in_each_tar_are_kept_apart(tmp_path):
    for shard in range(2):
        found = [one for n in range(3) for one in ((f"{n}.jpg", image(10 * shard + n)), (f"{n}.txt", b"text"))]
        fixtures.tar_of(tmp_path / f"in/{shard}.tar", found)
    assert convert(tmp_path / "in", tmp_path / "out") == 0
    assert sources(tmp_path / "out/paired") == {f"{shard}/{n}.jpg" for shard in range(2) for n in range(3)}


@pytest.mark.parametrize("damage", ["truncated", "header", "compressed"])
def test_tars_that_cannot_be_read_are_named(tmp_path, capsys, damage):
    path = tmp_path / "in/x.tar"
    fixtures.tar_of(path, [(f"{n}.jpg", image(n)) for n in range(5)])
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        data = data[: 512 * 6 + 100]
    elif damage == "header":
        with tarfile.open(path) as tar:
            at = tar.getmembers()[3].offset
        data[at : at + 20] = b"\xff" * 20
    else:
        import gzip

        data = gzip.compress(bytes(data))
    path.write_bytes(data)
    assert convert(tmp_path / "in", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "x.tar" in error
    assert error.count("\n") == 1


def test_json_that_is_none_and_captions_of_any_type(tmp_path):
    found = [
        ("a.jpg", image(1)),
        ("a.json", b"not json"),
        ("a.txt", b"text"),
        ("b.jpg", image(2)),
        ("b.json", json.dumps({"captions": ["one", 2, None, {"raw": "three"}], "label": 5}).encode()),
        ("c.jpg", image(3)),
        ("c.json", b"[1]"),
        ("d.jpg", image(4)),
        ("d.cls", b"1"),
    ]
    fixtures.tar_of(tmp_path / "in/x.tar", found)
    (tmp_path / "in/classnames.txt").write_text("tree\nriver\n")
    assert convert(tmp_path / "in", tmp_path / "out") == 0
    about = {key: json.loads(one["json"]) for key, one in members(tmp_path / "out/paired").items()}
    assert about["a"]["captions"] == ["text"]
    assert about["b"]["captions"] == ["one", "three"]  # a number is no caption, as in training
    counts = check_counts(tmp_path / "out")
    assert counts["captions"]["skipped"] == {"caption that is not text": 1}
    assert counts["notes"] == {"member .json that is not a JSON object: not read": 2}
    assert about["b"]["label"] == "5"
    bare = {key: json.loads(one["json"]) for key, one in members(tmp_path / "out/unpaired").items()}
    assert bare["d"]["label"] == "river"
    assert set(bare) == {"c", "d"}
