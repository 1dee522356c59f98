"""`sclip convert`: what it writes, and that it can be read where it is meant to be read."""

import hashlib
import io
import json

import pytest
from PIL import Image

from sclip_plugin.cli import main
from sclip_plugin.shards.conversion import shard_task
from tests.helpers.conversion import (
    check_counts,
    convert,
    image,
    manifest,
    members,
    picture,
    source,
    sources,
    stock_reads,
    tars,
    tree,
    write_csv,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def out(root):
    assert convert(root, root / "shards") == 0
    return root / "shards"


def test_every_image_stands_in_one_place_with_the_right_members(out):
    paired, unpaired, val = (members(out / name) for name in ("paired", "unpaired", "val/test"))
    assert (len(paired), len(unpaired), len(val)) == (36, 20, 4)
    assert len(set(paired) | set(unpaired) | set(val)) == 60
    for sample in paired.values():
        about = json.loads(sample["json"])
        assert set(sample) == {"jpg", "txt", "json"}
        assert sample["txt"].decode() == about["captions"][0]
        assert about["label"] in about["captions"][0]
    for sample in unpaired.values():
        assert set(sample) == {"jpg", "json"}
        assert "captions" not in json.loads(sample["json"])
    for sample in val.values():
        assert sample["txt"].decode().splitlines() == json.loads(sample["json"])["captions"]


def test_images_are_copied_byte_for_byte(root, out):
    for folder in ("paired", "unpaired", "val/test"):
        for sample in members(out / folder).values():
            name = json.loads(sample["json"])["source"]
            assert picture(sample) == ("jpg", (root / "photos" / name).read_bytes())


def test_counts_sizes_and_hashes_agree(out):
    counts = check_counts(out)
    assert counts["images"]["read"] == 60
    assert counts["captions"]["read"] == 40 + 14
    shards = manifest(out)["shards"]
    assert set(shards) == {str(path.relative_to(out)) for path in out.rglob("*.tar")}
    for name, shard in shards.items():
        data = (out / name).read_bytes()
        assert shard["sha256"] == hashlib.sha256(data).hexdigest()
        sizes = json.loads((out / name).with_name("sizes.json").read_text())
        assert sizes[(out / name).name] == shard["samples"]


def test_stock_open_clip_trains_on_the_paired_folder(out):
    counted, texts = stock_reads(out)
    assert counted == 36
    assert sorted(texts) == sorted(sample["txt"].decode() for sample in members(out / "paired").values())


def test_val_has_clip_benchmarks_layout(out):
    import webdataset as wds

    assert (out / "val/dataset_type.txt").read_text() == "retrieval\n"
    assert "{c}" in (out / "val/zeroshot_classification_templates.txt").read_text()
    assert (out / "val/classnames.txt").is_file()
    shards = int((out / "val/test/nshards.txt").read_text())
    assert [path.name for path in tars(out / "val/test")] == [f"{number}.tar" for number in range(shards)]
    loader = wds.WebDataset(f"{out}/val/test/{{0..{shards - 1}}}.tar", shardshuffle=False)
    loader = loader.decode(wds.autodecode.ImageHandler("pil", extensions=["webp", "png", "jpg", "jpeg"]))
    pairs = list(loader.to_tuple(["webp", "png", "jpg", "jpeg"], "txt").map_tuple(lambda x: x, str.splitlines))
    assert len(pairs) == 4
    assert all(picture.size == (24, 20) and captions for picture, captions in pairs)


def test_classification_set_of_the_held_out_images(root, out, capsys):
    flags = ("--as", "classification", "colours", "--templates", "a {c} thing.", "--templates", "{c}")
    assert convert(root, out, *flags, "--subset", "val") == 0
    folder = out / "colours"
    classes = (folder / "classnames.txt").read_text().splitlines()
    assert (folder / "zeroshot_classification_templates.txt").read_text() == "a {c} thing.\n{c}\n"
    assert (folder / "dataset_type.txt").read_text() == "zeroshot_classification\n"
    found = members(folder / "test")
    assert set(found) == set(members(out / "val/test"))
    for sample in found.values():
        assert classes[int(sample["cls"])] == json.loads(sample["json"])["label"]
    check_counts(folder)
    assert f"--zeroshot colours={folder}" in capsys.readouterr().out


def test_classification_set_of_class_folders(tmp_path):
    for number, name in enumerate(("dense_forest", "river", "river")):
        (tmp_path / "scenes" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "scenes" / name / f"{number}.png").write_bytes(image(number, "PNG"))
    assert main(["convert", f"{tmp_path}/scenes", "--out", f"{tmp_path}/out", "--as", "classification", "scenes"]) == 0
    folder = tmp_path / "out/scenes"
    assert (folder / "classnames.txt").read_text() == "dense forest\nriver\n"
    labels = {key: sample["cls"] for key, sample in members(folder / "test").items()}
    assert labels == {"dense_forest_0": b"0", "river_1": b"1", "river_2": b"1"}


def test_a_folder_without_captions_becomes_the_unpaired_set(tmp_path, capsys):
    root = source(tmp_path, captioned=0, bare=20)
    assert main(["convert", str(root / "photos"), "--out", str(tmp_path / "out")]) == 0
    assert len(members(tmp_path / "out/unpaired")) == 20
    assert not (tmp_path / "out/paired").exists()
    assert "no captions" in capsys.readouterr().out


def test_the_printed_command_names_the_shards(root, tmp_path, capsys):
    assert convert(root, tmp_path, "--shards", 3) == 0
    said = capsys.readouterr().out
    for word in ("--loss sclip", "paired/{000000..000002}.tar", "unpaired/{000000..000002}.tar", "--batch-size 32"):
        assert word in said


def test_more_unpaired_images_and_a_folder_given_twice(root, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more/p000.jpg").write_bytes(image(999))
    flags = [word for folder in (tmp_path / "more", root / "photos") for word in ("--unpaired-images", folder)]
    assert convert(root, tmp_path / "out", *flags) == 0
    assert "more/p000.jpg" in sources(tmp_path / "out/unpaired")
    assert check_counts(tmp_path / "out")["images"]["skipped"] == {"given twice": 60}


def test_groups_stay_on_one_side_and_ratios_are_nested(root, tmp_path):
    seen = {}
    for ratio in (0.1, 0.3, 1.0):
        out = tmp_path / str(ratio)
        assert convert(root, out, "--paired-ratio", ratio, "--group-column", "group") == 0
        parts = {name: sources(out / name) for name in ("paired", "val/test", "unpaired") if (out / name).is_dir()}
        groups = {name: {int(one[1:4]) // 2 for one in part if int(one[1:4]) < 40} for name, part in parts.items()}
        for name in groups:
            assert all(not groups[name] & groups[other] for other in groups if other != name)
        check_counts(out)
        seen[ratio] = parts
    assert seen[0.1]["paired"] < seen[0.3]["paired"] < seen[1.0]["paired"]
    assert seen[0.1]["val/test"] == seen[0.3]["val/test"] == seen[1.0]["val/test"]
    assert len(seen[0.3]["paired"]) == 12  # 30% of 36 is 11; groups of two


def test_the_seed_decides_split_and_order(root, tmp_path):
    for seed in (0, 1):
        assert convert(root, tmp_path / str(seed), "--seed", seed) == 0
    assert sources(tmp_path / "0/val/test") != sources(tmp_path / "1/val/test")
    assert list(members(tmp_path / "0/unpaired")) != list(members(tmp_path / "1/unpaired"))


@pytest.mark.parametrize(("flags", "shards"), [((), 4), (("--shards", 7), 7), (("--shard-size", 10), 4)])
def test_shard_counts(root, tmp_path, flags, shards):
    assert convert(root, tmp_path, *flags) == 0
    sizes = json.loads((tmp_path / "paired/sizes.json").read_text())
    assert len(sizes) == shards
    assert max(sizes.values()) - min(sizes.values()) <= 1


@pytest.mark.parametrize(
    ("header", "separator"),
    [(("FileName", "Title"), "\t"), (("img", "Sentence"), ";"), (("image_path", "captions"), ",")],
)
def test_columns_and_separators_are_recognised(tmp_path, header, separator):
    root = source(tmp_path, captioned=0, bare=3)
    rows = [("p000.jpg", 'one, "two"; three\tfour'), ("p001.jpg", "été\nà deux lignes")]
    write_csv(root / "captions.csv", rows, header, separator)
    assert convert(root, tmp_path / "out", "--val-ratio", 0) == 0
    texts = {sample["txt"].decode() for sample in members(tmp_path / "out/paired").values()}
    assert texts == {'one, "two"; three four', "été à deux lignes"}


def test_columns_can_be_named(tmp_path):
    root = source(tmp_path, captioned=0, bare=2)
    write_csv(root / "captions.csv", [("p000.jpg", "wrong", "right")], ("Where", "text", "What"))
    assert convert(root, tmp_path / "out", "--image-column", "where", "--caption-column", "What", "--val-ratio", 0) == 0
    assert [sample["txt"] for sample in members(tmp_path / "out/paired").values()] == [b"right"]


def test_resize_and_quality_are_counted(tmp_path):
    root = source(tmp_path, captioned=4, bare=1)
    assert convert(root, tmp_path / "small", "--resize", 10, "--val-ratio", 0) == 0
    assert check_counts(tmp_path / "small")["recoded"] == {"--resize": 5}
    suffix, data = picture(members(tmp_path / "small/paired")["p000"])
    assert (suffix, Image.open(io.BytesIO(data)).size) == ("jpg", (12, 10))
    assert convert(root, tmp_path / "big", "--resize", 100, "--val-ratio", 0) == 0
    assert check_counts(tmp_path / "big")["recoded"] == {}
    assert convert(root, tmp_path / "rough", "--quality", 20, "--val-ratio", 0) == 0
    assert check_counts(tmp_path / "rough")["recoded"] == {"--quality": 5}
    assert len(picture(members(tmp_path / "rough/paired")["p000"])[1]) < len(image(0))


def test_workers_and_repetition_change_no_byte(root, tmp_path):
    for name, workers in (("a", 1), ("b", 4)):
        assert convert(root, tmp_path / name, "--workers", workers, "--shards", 6) == 0
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_shards_are_the_same_whatever_the_blocks(root, tmp_path, monkeypatch):
    assert convert(root, tmp_path / "one") == 0  # each shard fits into one block
    monkeypatch.setattr(shard_task, "BLOCK", 1500)  # a few images
    assert convert(root, tmp_path / "many") == 0
    assert tree(tmp_path / "many") == tree(tmp_path / "one")


def test_a_split_column_counts_where_it_is_named(tmp_path):
    root = source(tmp_path, captioned=0, bare=6)
    rows = [(f"p00{n}.jpg", f"text {n}", "test" if n < 2 else "train") for n in range(6)]
    write_csv(root / "captions.csv", rows, ("filepath", "caption", "split"))
    assert convert(root, tmp_path / "named", "--split-column", "split") == 0
    assert sources(tmp_path / "named/val/test") == {"p000.jpg", "p001.jpg"}
    assert convert(root, tmp_path / "not", "--val-ratio", 0) == 0
    assert len(sources(tmp_path / "not/paired")) == 6
