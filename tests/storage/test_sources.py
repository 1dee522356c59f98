"""Conversions whose sources are in a store: the same shards and the same manifest as from the disk."""

import csv
import json

import fsspec
import pytest

from sclip_plugin.cli import main
from tests.helpers.shards import picture, write_shards
from tests.helpers.stores import upload


@pytest.fixture
def memory():
    """`memory://`, empty before and after."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield "memory://data"
    system.store.clear()


def convert(out, *words):
    assert main(["convert", *map(str, words), "--out", str(out), "--workers", "2"]) == 0
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def tars(root):
    return write_shards(root / "set", 30, 2, captions=True)


def webdataset(root):
    return tars(root), []


def table(root):
    (root / "photos" / "deep").mkdir(parents=True)
    for number in range(12):
        folder = "deep/" if number % 3 == 0 else ""
        (root / "photos" / f"{folder}{number}.png").write_bytes(picture(number))
    with open(root / "captions.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "caption"])
        rows.writerows([f"{'deep/' if n % 3 == 0 else ''}{n}.png", f'a "red" thing, {n}'] for n in range(9))
        rows.writerows([["missing.png", "x"], ["../captions.csv", "y"], ["deep/3.png", "a second one"]])
    return root / "captions.csv", ["--images", root / "photos"]


def jsonl(root):
    source, _ = table(root)
    rows = [{"image": f"photos/{n}.png", "caption": f"thing {n}"} for n in (1, 2, 4)]
    source.unlink()
    (root / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root / "captions.jsonl", []


def karpathy(root):
    table(root)
    images = [{"filename": f"{n}.png", "split": "train", "sentences": [{"raw": f"thing {n}"}]} for n in (1, 2, 4)]
    (root / "dataset.json").write_text(json.dumps({"images": images}))
    return root / "dataset.json", ["--images", root / "photos"]


def imagefolder(root):
    table(root)
    rows = "file_name,caption\n" + "".join(f"{n}.png,thing {n}\n" for n in (1, 2, 4))
    (root / "photos" / "metadata.csv").write_text(rows)
    return root / "photos", []


def folder(root):
    table(root)
    return root / "photos", []


def parquet(root):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    root.mkdir(exist_ok=True)
    rows = {
        "image": [{"bytes": picture(n), "path": f"{n}.png"} for n in range(9)],
        "text": [f"t {n}" for n in range(9)],
    }
    files.write_table(arrow.table(rows), root / "train.parquet")
    return root / "train.parquet", []


@pytest.mark.parametrize("made", [webdataset, table, jsonl, karpathy, imagefolder, folder, parquet])
def test_a_source_in_a_store_gives_the_same_bytes(made, memory, tmp_path):
    root = tmp_path / "data"
    source, flags = made(root)
    expected = convert(tmp_path / "here", source, *flags)
    upload(root, memory)
    there = [str(word).replace(str(root), memory) for word in (source, *flags)]
    found = convert(tmp_path / "there", *there)
    assert found.keys() == expected.keys() > {"manifest.json", "README.md"}
    assert {name for name in found if found[name] != expected[name]} == set()


def test_a_file_url_is_a_path(tmp_path):
    source = tars(tmp_path)
    assert convert(tmp_path / "a", f"file://{source}") == convert(tmp_path / "b", source)


def test_shards_in_a_store_are_split_as_here(memory, tmp_path):
    convert(tmp_path / "data", tars(tmp_path))
    upload(tmp_path / "data", memory)
    for source, out in ((tmp_path / "data", "here"), (memory, "there")):
        assert main(["split", str(source), "--out", str(tmp_path / out), "--paired-ratio", "0.3"]) == 0
    names = [path.relative_to(tmp_path / "here") for path in sorted((tmp_path / "here").rglob("*")) if path.is_file()]
    assert len(names) > 5
    for name in names:
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes(), name


def test_published_sets_are_read_from_the_disk_only(memory, tmp_path, capsys):
    assert main(["convert", f"{memory}/x", "--from", "polyvore", "--out", str(tmp_path / "out")]) == 2
    assert "--from polyvore reads folders of this machine only" in capsys.readouterr().err


def test_what_is_not_there_is_one_line(memory, tmp_path, capsys):
    assert main(["convert", f"{memory}/none", "--out", str(tmp_path / "out")]) == 1
    assert f"no such file or folder: {memory}/none" in capsys.readouterr().err
    assert main(["verify", f"{memory}/none"]) == 1
    assert f"no such folder: {memory}/none" in capsys.readouterr().err
    assert main(["split", f"{memory}/none", "--out", str(tmp_path / "out")]) == 1
    assert f"{memory}/none: no manifest.json" in capsys.readouterr().err
