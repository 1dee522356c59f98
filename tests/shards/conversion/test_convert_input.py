"""`sclip convert` on bad and hostile input: skipped and counted, or refused in one line."""

import os
import struct
import zlib

import pytest

from sclip_plugin.cli import main
from sclip_plugin.shards.readers.files import LINK, MISSING, OUTSIDE
from tests.helpers.conversion import check_counts, convert, image, members, source, sources, write_csv


def huge_png() -> bytes:
    """A PNG whose header says 50,000 × 50,000."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_captions_that_cannot_be_used_are_counted(tmp_path):
    root = source(tmp_path, captioned=0, bare=4)
    rows = [
        ("p000.jpg", "a tree"),
        ("p000.jpg", "a  tree "),
        ("p001.jpg", "   "),
        ("gone.jpg", "not here"),
        ("", "no name"),
        ("p002.jpg", "a river"),
        ("p002.jpg",),
    ]
    write_csv(root / "captions.csv", rows, ("filepath", "caption"))
    assert convert(root, tmp_path / "out", "--val-ratio", 0) == 0
    counts = check_counts(tmp_path / "out")
    misfit = {"row that does not fit the header": 1}
    expected = {"duplicate caption": 1, "empty caption": 1, MISSING: 1, "no image named": 1, **misfit}
    assert counts["captions"]["skipped"] == expected
    assert counts["notes"]["left out: captions.csv: line 8: 1 cell, but the header has 2"] == 1
    assert sources(tmp_path / "out/unpaired") == {"p001.jpg", "p003.jpg"}


def test_names_that_lead_out_of_the_folder(tmp_path):
    root = source(tmp_path / "in", captioned=0, bare=2)
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(image(77))
    (root / "photos/link.jpg").symlink_to(secret)
    (root / "photos/folder").symlink_to(tmp_path)
    names = ["p000.jpg", "../../secret.jpg", str(secret), "link.jpg", "folder/secret.jpg", "/etc/passwd"]
    write_csv(root / "captions.csv", [(name, "a caption") for name in names], ("filepath", "caption"))
    assert convert(root, tmp_path / "out", "--val-ratio", 0) == 0
    counts = check_counts(tmp_path / "out")
    assert counts["captions"]["skipped"] == {OUTSIDE: 5}
    assert counts["images"]["skipped"] == {LINK: 2}
    assert all(image(77) not in sample.values() for sample in members(tmp_path / "out/unpaired").values())


def test_absolute_names_and_links_inside_the_folder_are_one_image(tmp_path):
    root = source(tmp_path, captioned=0, bare=2)
    (root / "photos/link.jpg").symlink_to("p000.jpg")
    names = ["p000.jpg", str(root / "photos/p000.jpg"), "link.jpg", "photos/p000.jpg"]
    write_csv(root / "captions.csv", [(name, f"caption {n}") for n, name in enumerate(names)], ("filepath", "caption"))
    assert convert(root, tmp_path / "out", "--val-ratio", 0) == 0
    (sample,) = members(tmp_path / "out/paired").values()
    assert sample["json"].count(b"caption ") == 4


def test_images_that_cannot_be_used_are_counted(tmp_path):
    root = source(tmp_path, captioned=3, bare=2)
    photos = root / "photos"
    (photos / "p000.jpg").write_bytes(b"")
    (photos / "p003.jpg").write_bytes(b"no image at all")
    (photos / "bomb.png").write_bytes(huge_png())
    (photos / "cut.tif").write_bytes(image(5, "TIFF")[:900])
    assert convert(root, tmp_path / "out", "--val-ratio", 0) == 0
    counts = check_counts(tmp_path / "out")
    assert counts["images"]["skipped"] == {"decompression bomb": 1, "empty file": 1, "undecodable image": 2}
    assert counts["captions"]["skipped"] == {"its image was skipped": 2}


def test_check_decodes_what_is_copied(tmp_path):
    root = source(tmp_path, captioned=3, bare=2)
    whole = image(5, size=(64, 64))
    (root / "photos/p004.jpg").write_bytes(whole[: len(whole) // 2])
    assert convert(root, tmp_path / "quick", "--val-ratio", 0) == 0
    assert check_counts(tmp_path / "quick")["images"]["skipped"] == {}
    assert convert(root, tmp_path / "sure", "--val-ratio", 0, "--check") == 0
    assert check_counts(tmp_path / "sure")["images"]["skipped"] == {"undecodable image": 1}


def test_difficult_names_get_unique_plain_keys(tmp_path):
    root = source(tmp_path, captioned=0, bare=0)
    names = [
        "a b.jpg",
        "a_b.jpg",
        "a.b.jpg",
        "sub/a_b.JPG",
        "sub_a_b.jpg",
        "été.jpg",
        "日本.jpg",
        "語.jpg",
        "x" * 150 + ".jpg",
    ]
    (root / "photos/sub").mkdir()
    for number, name in enumerate(names):
        (root / "photos" / name).write_bytes(image(number))
    assert main(["convert", str(root / "photos"), "--out", str(tmp_path / "out")]) == 0
    keys = list(members(tmp_path / "out/unpaired"))
    assert len(keys) == len({key.casefold() for key in keys}) == len(names)
    assert all(key.isascii() and "/" not in key and len(key) <= 80 for key in keys)
    assert sources(tmp_path / "out/unpaired") == set(names)


def test_two_images_of_one_key_are_refused_by_name(tmp_path, capsys):
    root = source(tmp_path, captioned=3, bare=0)
    (root / "photos/p001.png").write_bytes(image(1, "PNG"))
    assert convert(root, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "p001.jpg" in error
    assert "p001.png" in error
    assert not (tmp_path / "out").exists()


def test_a_captionless_image_of_a_paired_group_is_left_out(tmp_path):
    root = source(tmp_path, captioned=0, bare=4)
    rows = [("p000.jpg", "a tree", "g"), ("p001.jpg", "", "g"), ("p002.jpg", "", "h")]
    write_csv(root / "captions.csv", rows, ("filepath", "caption", "group"))
    assert convert(root, tmp_path / "out", "--val-ratio", 0, "--group-column", "group") == 0
    assert sources(tmp_path / "out/unpaired") == {"p002.jpg", "p003.jpg"}
    check_counts(tmp_path / "out")


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (("--paired-ratio", "0"), 2, "--paired-ratio must be above 0"),
        (("--val-ratio", "1"), 2, "--val-ratio must be at least 0 and below 1"),
        (("--shards", "0"), 2, "--shards must be at least 1"),
        (("--shards", "2", "--shard-size", "5"), 2, "--shards and --shard-size exclude each other"),
        (("--quality", "101"), 2, "--quality must be from 1 to 100"),
        (("--subset", "val"), 2, "--subset needs --as classification"),
        (("--as", "retrieval", "x"), 2, "the only kind is classification"),
        (("--as", "classification", "paired"), 2, "'paired' is not a name"),
        (("--as", "classification", "../x"), 2, "is not a name"),
        (("--as", "classification", "x", "--templates", "none"), 2, "must be one line that holds {c}"),
        (("--caption-column", "words"), 2, "no column 'words' in .*its columns are: filepath, caption, label, group"),
        (("--unpaired-images", "nowhere"), 1, "--unpaired-images: no such folder: nowhere"),
        (("--from", "folder"), 2, "--images has no meaning for .*captions.csv, read as folder"),
    ],
)
def test_refusals(tmp_path, capsys, flags, status, message):
    import re

    root = source(tmp_path, captioned=2, bare=1)
    assert convert(root, tmp_path / "out", *flags) == status
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 1, "no header line"),
        (b"what,caption\np000.jpg,x\n", 2, "no column recognised as the image"),
        (b"filepath,title2\np000.jpg,x\n", 2, "no column recognised as the caption"),
        (b"filepath,caption\np000.jpg,\xe9t\xe9\n", 1, "not UTF-8 text"),
        (b"filepath,caption\ngone.jpg,a tree\n", 1, "no caption belongs to a usable image.*image missing: 1"),
        (
            b"filepath,caption,group\np000.jpg,a,g\np000.jpg,b,h\n",
            1,
            "line 3: p000.jpg is in group 'h' here and in 'g'",
        ),
    ],
)
def test_bad_tables(tmp_path, capsys, content, status, message):
    import re

    root = source(tmp_path, captioned=0, bare=1)
    (root / "captions.csv").write_bytes(content)
    flags = ("--group-column", "group") if b"group" in content else ()
    assert convert(root, tmp_path / "out", *flags) == status
    assert re.search(message, capsys.readouterr().err)


def test_missing_and_unrecognised_sources(tmp_path, capsys):
    assert main(["convert", str(tmp_path / "none.csv"), "--out", str(tmp_path / "out")]) == 1
    (tmp_path / "notes.docx").write_bytes(b"x")
    assert main(["convert", str(tmp_path / "notes.docx"), "--out", str(tmp_path / "out")]) == 2
    (tmp_path / "empty").mkdir()
    assert main(["convert", str(tmp_path / "empty"), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    for part in ("no such file or folder", "format not recognised", "no usable image"):
        assert part in error


def test_several_labels_of_one_image_give_none(tmp_path, capsys):
    root = source(tmp_path, captioned=0, bare=2)
    write_csv(root / "captions.csv", [("p000.jpg", "a", "x"), ("p000.jpg", "b", "y")], ("filepath", "caption", "label"))
    assert convert(root, tmp_path / "out", "--val-ratio", 0) == 0
    assert b"label" not in next(iter(members(tmp_path / "out/paired").values()))["json"]
    assert "several labels" in capsys.readouterr().out


def test_an_unreadable_image_is_skipped(tmp_path):
    root = source(tmp_path, captioned=2, bare=2)
    os.chmod(root / "photos/p003.jpg", 0)
    assert convert(root, tmp_path / "out", "--val-ratio", 0) == 0
    if os.getuid() != 0:  # root reads everything
        assert sum(check_counts(tmp_path / "out")["images"]["skipped"].values()) == 1
    check_counts(tmp_path / "out")


def test_a_full_disk_is_one_line(tmp_path, capsys, monkeypatch):
    import sqlite3

    from sclip_plugin.shards.conversion.index import SampleIndex

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    root = source(tmp_path, captioned=2, bare=1)
    monkeypatch.setattr(SampleIndex, "judge", full)
    assert convert(root, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "index.sqlite: database or disk is full" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
