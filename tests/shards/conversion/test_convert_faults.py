"""What goes wrong around a conversion: another one at work, a full disk, an interruption, odd names, damaged files."""

import errno
import io
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sclip_plugin.cli import main
from sclip_plugin.errors import DataError
from sclip_plugin.shards.contact_sheet import Thumbnail, draw
from sclip_plugin.shards.conversion import index as index_module
from sclip_plugin.shards.conversion import schema, writer
from sclip_plugin.shards.images import Transform, encode, inspect
from sclip_plugin.shards.verification.shard_checks import _ImageInMemory
from tests.helpers.conversion import check_counts, convert, image, members, source, sources, tree

COMMAND = [sys.executable, "-m", "sclip_plugin.cli"]
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def root(tmp_path):
    return source(tmp_path, captioned=8, bare=4)


def one_line(capsys) -> str:
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def scratch(folder: Path) -> list[str]:
    """Hidden files and folders that are left."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".*")]


# Two at a time

HELD = """
import sys
from sclip_plugin.shards.conversion import pipeline
from sclip_plugin.cli import main
plan = pipeline._plan
def waiting(*args):
    print("at work", flush=True)
    sys.stdin.readline()
    return plan(*args)
pipeline._plan = waiting
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("second", ["convert", "split"])
def test_a_second_conversion_into_the_same_folder_is_refused(root, capsys, second):
    out = root / "out"
    assert convert(root, root / "full") == 0
    words = ["convert", root / "captions.csv", "--images", root / "photos", "--out", out]
    command = [sys.executable, "-c", HELD, *map(str, words)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "at work\n"
        before = tree(out)
        capsys.readouterr()
        if second == "convert":
            status = convert(root, out, "--seed", 1, "--overwrite")
        else:
            status = main(["split", str(root / "full"), "--out", str(out), "--overwrite"])
        assert status == 2
        assert f"--out: {out}: another sclip convert or sclip split is at work there" in one_line(capsys)
        assert tree(out) == before
        first.stdin.write("\n")
        first.stdin.flush()
        first.stdout.read()
    assert first.returncode == 0
    assert tree(out) == tree(root / "full")
    assert not scratch(out)


# A full disk


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_full_disk_names_the_shard_and_leaves_nothing(root, capsys, monkeypatch, at):
    out = root / "out"
    done = getattr(os, at)

    def full(*args):
        handle = os.readlink(f"/proc/self/fd/{args[0]}") if at == "fsync" else str(args[0])
        if ".tar." in handle:
            raise FULL
        return done(*args)

    monkeypatch.setattr(os, at, full)
    assert convert(root, out, "--workers", 1) == 1
    assert ".tar: No space left on device" in one_line(capsys)
    assert not list(out.rglob("*.tmp"))
    monkeypatch.undo()
    assert convert(root, out) == 0
    assert convert(root, root / "whole") == 0
    assert tree(out) == tree(root / "whole")


def test_a_real_limit_on_the_size_of_files(root):
    """RLIMIT_FSIZE makes write() fail in the middle of a shard."""
    (root / "photos/large.png").write_bytes(image(1, "PNG", size=(500, 500)))
    size = (root / "photos/large.png").stat().st_size
    words = ["convert", root / "captions.csv", "--images", root / "photos", "--out", root / "out", "--workers", "1"]

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1000, size - 1000))

    run = subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, preexec_fn=limit, check=False)
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert ".tar: File too large" in run.stderr
    assert not list((root / "out").rglob("*.tmp"))


@pytest.mark.parametrize("at", [1, 2, 3, 5])
def test_a_full_disk_while_the_index_is_made(root, capsys, monkeypatch, at):
    connect = sqlite3.connect

    class Full(sqlite3.Connection):
        def execute(self, *args):
            self.calls = getattr(self, "calls", 0) + 1
            if self.calls >= at:
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(*args)

    monkeypatch.setattr(index_module.sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=Full))
    assert convert(root, root / "out") == 1
    assert "index.sqlite: database or disk is full" in one_line(capsys)
    assert not (root / "out").exists()


def test_a_full_disk_and_the_contact_sheet(tmp_path, monkeypatch):
    def full(*_):
        raise FULL

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"sheet.png: No space left on device"):
        draw([("paired", [Thumbnail(image(1), ("a tree",))])], tmp_path / "sheet.png")
    assert not list(tmp_path.iterdir())


def test_a_contact_sheet_without_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="'.' is not the name of a file"):
        draw([("paired", [Thumbnail(image(1), ("a tree",))])], Path(""))


def test_what_a_killed_run_wrote_aside_is_removed(root):
    out = root / "out"
    assert convert(root, out) == 0
    expected = tree(out)
    for name in (".manifest.json.99.tmp", "val/.classnames.txt.99.tmp", "paired/.000000.tar.99.tmp"):
        (out / name).write_bytes(b"x")
    (out / ".notes.99.tmp").write_bytes(b"of somebody else")
    (out / ".progress").mkdir()
    (out / ".progress/.plan.json.99.tmp").write_bytes(b"x")
    assert convert(root, out) == 0
    assert tree(out) == {**expected, ".notes.99.tmp": b"of somebody else"}


def test_what_a_killed_drawing_wrote_aside_is_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    alive = f".sheet.png.{os.getppid()}.tmp"
    for name in (f".sheet.png.{ended.pid}.tmp", alive):
        (tmp_path / name).write_bytes(b"x")
    draw([("paired", [Thumbnail(image(1), ("a tree",))])], tmp_path / "sheet.png")
    assert {path.name for path in tmp_path.iterdir()} == {"sheet.png", alive}


# An interruption


def test_an_interruption_in_a_function_of_sql_is_one(root, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(schema, "_seeded", interrupted)
    assert convert(root, root / "out") == 1
    assert one_line(capsys) == "sclip convert: interrupted; run the same command again to continue\n"
    assert not (root / "out").exists()


# Odd words and names


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--out", ""), "--out must name a folder"),
        (("--as", "classification", ""), "--as classification: '' is not a name"),
        (("--as", "classification", "a\nb"), r"--as classification: 'a\nb' is not a name"),
        (("--as", "classification", "a\udce9"), r"--as classification: 'a\udce9' is not a name"),
        (("--as", "classification", "x", "--templates", "a\u2028{c}"), "must be one line that holds {c}"),
        (("--as", "classification", "x", "--templates", "\udce9{c}"), "must be one line that holds {c}"),
        (("--val-split", ","), "--val-split: ',' names no split"),
        (("--val-split", ""), "--val-split: '' names no split"),
        (("--val-split", "", "--val-ratio", "0.1"), "--val-split and --val-ratio exclude each other"),
        (("--images", ""), "--images must name a file or folder"),
        (("--unpaired-images", ""), "--unpaired-images must name a file or folder"),
        (("--seed", "9" * 30), "--seed must fit into 64 bits"),
        (("--seed", "-" + "9" * 30), "--seed must fit into 64 bits"),
        (("--workers", "1000000000000"), "--workers must be at most 1024"),
    ],
)
def test_words_that_say_nothing_are_refused(root, capsys, monkeypatch, flags, message):
    monkeypatch.chdir(root)
    before = tree(root)
    assert convert(root, root / "out", *flags) == 2
    assert message in one_line(capsys)
    assert tree(root) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("full", "--out", ""), "--out must name a folder"),
        (("", "--out", "x"), "SHARDS must name a folder"),
        (("full", "--out", "x", "--seed", "9" * 30), "--seed must fit into 64 bits"),
    ],
)
def test_words_that_say_nothing_to_split(root, capsys, monkeypatch, words, message):
    monkeypatch.chdir(root)
    assert convert(root, root / "full") == 0
    before = tree(root)
    capsys.readouterr()
    assert main(["split", *words]) == 2
    assert message in one_line(capsys)
    assert tree(root) == before


@pytest.mark.parametrize("seed", [2**63 - 1, -(2**63)])
def test_the_largest_seeds(root, seed):
    assert convert(root, root / "out", "--seed", seed) == 0


def test_file_names_that_are_not_utf8(tmp_path, capfd):
    photos = os.fsencode(tmp_path) + b"/ph\xffotos"
    os.mkdir(photos)
    names = [b"\xff.jpg", b"\xfe.jpg", b"caf\xe9.jpg", b"plain.jpg"]
    for number, name in enumerate([*names, b"twin\xff.jpg"]):
        with open(os.path.join(photos, name), "wb") as file:
            file.write(image(min(number, 3)))
    out = tmp_path / os.fsdecode(b"o\xffut")
    run = subprocess.run([*COMMAND, "convert", photos, "--out", out], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr
    expected = {os.fsdecode(name) for name in [*names, b"twin\xff.jpg"]}
    assert sources(out / "unpaired") == expected
    keys = list(members(out / "unpaired"))
    assert len({key.casefold() for key in keys}) == len(keys)
    assert check_counts(out)["images"]["read"] == 5
    json.loads((out / "manifest.json").read_bytes().decode("utf-8"))
    assert json.loads((out / "unpaired/sizes.json").read_bytes().decode("utf-8"))
    assert main(["verify", str(out)]) == 0
    assert main(["split", str(out), "--out", str(tmp_path / "split")]) == 0
    assert sources(tmp_path / "split/unpaired") == expected
    assert main(["convert", os.fsdecode(photos), "--out", str(tmp_path / "x"), "--dry-run"]) == 0


# Damaged files in the output folder


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"[]", b"{}", b'{"plan": 5}', b"1" * 5000])
def test_a_damaged_manifest_in_the_output_folder(root, capsys, content):
    out = root / "out"
    assert convert(root, out) == 0
    (out / "manifest.json").write_bytes(content)
    before = tree(out)
    for flags in ((), ("--overwrite",)):
        capsys.readouterr()
        assert convert(root, out, *flags) == 1
        assert f"{out}/manifest.json: not a manifest of sclip convert, or damaged" in one_line(capsys)
        assert tree(out) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda m: m.pop("counts"),
        lambda m: m.pop("shards"),
        lambda m: m["counts"].pop("notes"),
        lambda m: m["counts"]["images"].update(written=[1]),
        lambda m: m["counts"]["images"].update(read="x"),
        lambda m: m["shards"].update({"paired/000000.tar": 3}),
        lambda m: m.update(equal_images=5),
        lambda m: m.update(source=5),
    ],
)
def test_a_manifest_with_damaged_parts_is_made_anew(root, damage):
    out = root / "out"
    assert convert(root, out) == 0
    whole = tree(out)
    content = json.loads((out / "manifest.json").read_text())
    damage(content)
    (out / "manifest.json").write_text(json.dumps(content))
    assert convert(root, out) == 0
    assert tree(out) == whole


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{}", b"[]", b'{"bytes": "x"}', b"\xff"])
def test_a_damaged_mark_of_a_shard_counts_for_nothing(root, monkeypatch, content):
    out = root / "out"
    finish = writer.finish

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sclip_plugin.shards.conversion.build.finish", stop)
    assert convert(root, out) == 1
    monkeypatch.setattr("sclip_plugin.shards.conversion.build.finish", finish)
    marks = [path for path in (out / ".progress").glob("*.json") if path.name != "plan.json"]
    assert marks
    for mark in marks:
        size = json.loads(mark.read_text())["bytes"]
        mark.write_bytes(b'{"bytes": %d}' % size if content == b"{}" else content)
    assert convert(root, out) == 0
    assert convert(root, root / "whole") == 0
    assert tree(out) == tree(root / "whole")


def test_an_output_that_is_a_file(root, capsys):
    (root / "out").write_text("precious")
    assert convert(root, root / "out") == 1
    assert f"--out: {root}/out is not a folder" in one_line(capsys)
    assert (root / "out").read_text() == "precious"


# Warnings


def test_no_warning_of_pil_or_numpy(tmp_path, capfd):
    """A TIFF of floats with infinities, a palette with transparent bytes, and damaged EXIF data."""
    photos = tmp_path / "photos"
    photos.mkdir()
    values = np.linspace(-1, 1, 400, dtype=np.float32).reshape(20, 20)
    values[0, :3] = np.inf, -np.inf, np.nan
    Image.fromarray(values).save(photos / "float.tif")
    values[:] = np.inf
    Image.fromarray(values).save(photos / "infinite.tif")
    palette = Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20) % 8, "L").convert("P")
    palette.save(photos / "palette.png", transparency=bytes(range(8)))
    whole = image(3)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0" + b"\x12\x01\x03\0\xff\xff\xff\x7f\0\0\0\x7f" * 2
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (photos / "exif.jpg").write_bytes(whole[:2] + segment + whole[2:])
    out = tmp_path / "out"
    run = subprocess.run([*COMMAND, "convert", photos, "--out", out, "--check"], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert "4 read = 4 written" in run.stdout
    run = subprocess.run([*COMMAND, "verify", out], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_infinite_pixels_are_white_and_black():
    values = np.linspace(-1, 1, 400, dtype=np.float32).reshape(20, 20)
    plain = encoded(values)
    values[0, 0], values[19, 19] = -np.inf, np.inf
    values[0, 1], values[19, 18] = -1, 1  # the least and the greatest stay
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = encoded(values)
    assert (found[0, 0], found[19, 19]) == (0, 255)
    assert (found[5:15] == plain[5:15]).all()


def encoded(values: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF")
    assert inspect(_ImageInMemory(buffer.getvalue()), Transform()).suffix == "png"
    with Image.open(io.BytesIO(encode(buffer.getvalue(), "png", Transform()))) as picture:
        return np.asarray(picture)


def test_a_dry_run_shows_an_image_that_does_not_decode(tmp_path, capsys):
    root = source(tmp_path, captioned=2, bare=2)
    whole = image(5, size=(64, 64))
    (root / "photos/p003.jpg").write_bytes(whole[: len(whole) // 2])
    assert convert(root, tmp_path / "out", "--dry-run") == 0
    assert (tmp_path / "out-preview.png").exists()
