"""A classification set of held-out images holds out what the training set in the same folder holds out."""

import json
import shutil

import pytest

from sclip_plugin.cli import main
from tests.helpers.conversion import (
    check_counts,
    convert,
    image,
    manifest,
    members,
    picture,
    source,
    sources,
    tree,
    write_csv,
)

TRAINING = ("--paired-ratio", 0.3, "--val-ratio", 0.2, "--seed", 5, "--group-column", "group")
SET = ("--as", "classification", "colours", "--subset", "val")


@pytest.fixture
def root(tmp_path):
    root = source(tmp_path)
    assert convert(root, root / "out", *TRAINING) == 0
    return root


def pictures(folder) -> set[bytes]:
    return {picture(sample)[1] for sample in members(folder).values()}


def test_the_split_is_that_of_the_training_set(root):
    assert convert(root, root / "out", *SET) == 0
    found = pictures(root / "out/colours/test")
    assert found == pictures(root / "out/val/test")
    assert not found & (pictures(root / "out/paired") | pictures(root / "out/unpaired"))
    recorded = manifest(root / "out/colours")["options"]
    assert [recorded[name] for name in ("paired_ratio", "val_ratio", "seed", "group_column")] == [0.3, 0.2, 5, "group"]
    assert main(["verify", str(root / "out")]) == 0
    assert main(["verify", str(root / "out/colours")]) == 0


def test_flags_that_agree_may_be_given(root):
    assert convert(root, root / "out", *SET, *TRAINING) == 0
    assert sources(root / "out/colours/test") == sources(root / "out/val/test")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--seed", 6), "--seed 6: {out}/manifest.json has --seed 5;"),
        (("--val-split", "test"), "--val-split test: {out}/manifest.json has no --val-split;"),
        (
            ("--group-column", "label", "--paired-ratio", 1),
            "--paired-ratio 1.0, --group-column label: {out}/manifest.json has --paired-ratio 0.3, --group-column g",
        ),
    ],
)
def test_other_split_flags_are_refused(root, capsys, flags, message):
    capsys.readouterr()
    assert convert(root, root / "out", *SET, *flags) == 2
    error = capsys.readouterr().err
    assert message.format(out=root / "out") in error
    assert error.count("\n") == 1
    assert not (root / "out/colours").exists()


def test_a_set_of_all_images_takes_any_flags(root):
    assert convert(root, root / "out", "--as", "classification", "colours", "--seed", 6) == 0
    assert main(["verify", str(root / "out")]) == 0


@pytest.mark.parametrize("manifest_too", [True, False])
def test_a_conversion_that_has_not_ended_comes_first(root, capsys, manifest_too):
    """It is at work, or was killed: its plan may not be written, and the manifest that is there may be an old one."""
    if not manifest_too:
        (root / "out/manifest.json").unlink()
    (root / "out/.progress").mkdir()
    assert convert(root, root / "out", *SET) == 1
    assert f"--out: {root / 'out'}: a conversion into it has not ended" in capsys.readouterr().err
    assert not (root / "out/colours").exists()


@pytest.mark.parametrize("damage", [lambda _: [], lambda m: {**m, "options": 3}, lambda m: {**m, "shards": None}])
def test_a_damaged_manifest_is_one_line(root, capsys, damage):
    path = root / "out/manifest.json"
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    assert convert(root, root / "out", *SET) == 1
    assert f"{path}: not a manifest of sclip convert, or damaged" in capsys.readouterr().err


def test_an_option_of_another_type_is_one_line(root, capsys):
    path = root / "out/manifest.json"
    content = json.loads(path.read_text())
    content["options"]["seed"] = "5"
    path.write_text(json.dumps(content))
    assert convert(root, root / "out", *SET) == 1
    assert f"{path}: options: seed is '5'" in capsys.readouterr().err


def test_images_that_other_sources_gave_to_training_are_left_out_and_counted(root):
    """The same images, by another list, so that nothing says that they belong together but their bytes."""
    other = root / "other"
    other.mkdir()
    (other / "captions.csv").write_bytes((root / "captions.csv").read_bytes() + b"p059.jpg,a rose,red,g99\n")
    (other / "photos").symlink_to(root / "photos")
    assert convert(other, root / "out", *SET, "--val-ratio", 0.5) == 0
    trained = pictures(root / "out/paired") | pictures(root / "out/unpaired")
    assert not pictures(root / "out/colours/test") & trained
    skipped = check_counts(root / "out/colours")["images"]["skipped"]
    assert skipped["held out, but the same bytes are in paired or unpaired"] > 3
    assert main(["verify", str(root / "out/colours")]) == 0


def test_a_training_set_with_another_split_than_the_set_beside_it(root, capsys):
    """The other order: the set of held-out images first, or a training set that is made anew."""
    assert convert(root, root / "out", *SET) == 0
    before = tree(root / "out")
    capsys.readouterr()
    assert convert(root, root / "out", *TRAINING, "--seed", 6, "--overwrite") == 1
    error = capsys.readouterr().err
    assert f"--out: {root / 'out/colours'} holds out other images (seed 6 is 5 there); remove it first" in error
    assert error.count("\n") == 1
    assert tree(root / "out") == before
    assert convert(root, root / "new", *SET) == 0
    assert convert(root, root / "new") == 0
    assert main(["verify", str(root / "new")]) == 0
    shutil.rmtree(root / "out/colours")
    assert convert(root, root / "out", *TRAINING, "--seed", 6, "--overwrite") == 0


def test_another_source_is_split_as_its_own_flags_say(root, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "scenes" / name).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "scenes" / name / f"{number}.jpg").write_bytes(image(1000 + 10 * number + ord(name)))
    words = ["convert", f"{tmp_path}/scenes", "--out", f"{root}/out", "--as", "classification", "x", "--subset"]
    assert main([*words, "unpaired", "--seed", "9"]) == 0
    assert len(members(root / "out/x/test")) == 8


@pytest.mark.parametrize("killed", [False, True])
def test_pictures_that_are_equal_only_in_the_shards(tmp_path, monkeypatch, killed):
    """Each picture as a BMP and as a TIFF: other files, but the same PNG in the shards."""
    photos, rows = tmp_path / "photos", []
    photos.mkdir()
    for number in range(12):
        for form, suffix in (("BMP", "bmp"), ("TIFF", "tif")):
            (photos / f"{number}{form}.{suffix}").write_bytes(image(number, form))
            rows.append((f"{number}{form}.{suffix}", f"picture {number} {form}", "ab"[number % 2]))
    write_csv(tmp_path / "captions.csv", rows, ("filepath", "caption", "label"))
    out = tmp_path / "out"
    if killed:
        monkeypatch.setattr("sclip_plugin.shards.conversion.build.finish", lambda *_: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            convert(tmp_path, out, "--val-ratio", 0.3)
        monkeypatch.undo()
    for flags in (("--val-ratio", 0.3), SET):
        assert convert(tmp_path, out, *flags) == 0
    trained = pictures(out / "paired")
    for folder in (out, out / "colours"):
        part = folder / ("val/test" if folder == out else "test")
        counts = check_counts(folder)
        assert counts["images"]["skipped"].get("held out, but the same bytes are in paired or unpaired", 0) > 0
        assert not pictures(part) & trained
        assert main(["verify", str(folder)]) == 0
