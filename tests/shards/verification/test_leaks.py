"""`sclip verify` compares evaluation sets with the training set beside them, and labels with the class list."""

import json
import shutil

import pytest

from sclip_plugin.cli import main
from tests.helpers.conversion import convert, members, picture, source, tars
from tests.helpers.formats import tar_of

SET = ("--as", "classification", "colours", "--subset", "val")
LEAK = "(evaluation image that is in paired or unpaired too)"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A training set with a classification set of its held-out images."""
    root = source(tmp_path_factory.mktemp("source"))
    assert convert(root, root / "out", "--paired-ratio", 0.5) == 0
    assert convert(root, root / "out", *SET) == 0
    return root / "out"


@pytest.fixture
def out(made, tmp_path):
    return shutil.copytree(made, tmp_path / "out")


def add(out, part: str, data: bytes) -> None:
    """One sample more in a training part; its files beside the shards then say something else too."""
    tar_of(out / part / "000099.tar", [("new.jpg", data), ("new.txt", b"x")])


def held_out(folder) -> bytes:
    """The first image of an evaluation set."""
    return picture(next(iter(members(folder / "test").values())))[1]


@pytest.mark.parametrize("part", ["paired", "unpaired"])
def test_an_image_of_val_in_training_is_a_fault(out, capsys, part):
    add(out, part, held_out(out / "val"))
    assert main(["verify", str(out)]) == 1
    said = capsys.readouterr().out
    assert f"fault: 2 {LEAK}" in said  # in val/ and in colours/
    assert f"{part}/000099.tar: new" in said
    for name in ("val", "colours"):
        assert main(["verify", str(out / name)]) == 1
        assert f"fault: 1 {LEAK}" in capsys.readouterr().out


def test_other_images_of_the_same_length_are_no_fault(out, capsys):
    add(out, "paired", held_out(out / "val")[:-1] + b"\0")
    main(["verify", str(out)])
    assert LEAK not in capsys.readouterr().out


def test_a_set_of_all_images_may_hold_those_of_training(out, capsys):
    path = out / "colours/manifest.json"
    content = json.loads(path.read_text())
    content["options"]["subset"] = "all"
    path.write_text(json.dumps(content))
    add(out, "paired", held_out(out / "val"))
    main(["verify", str(out)])
    assert f"fault: 1 {LEAK}" in capsys.readouterr().out  # in val/


def relabel(folder, change) -> None:
    """Rewrite the first shard of a set with `change` applied to what its first .json says."""
    import tarfile

    (path, *_) = tars(folder / "test")
    with tarfile.open(path) as tar:
        found = [(member.name, tar.extractfile(member).read()) for member in tar]
    at = next(number for number, (name, _) in enumerate(found) if name.endswith(".json"))
    found[at] = (found[at][0], json.dumps(change(json.loads(found[at][1]))).encode())
    tar_of(path, found)


def test_a_label_that_is_not_the_class_is_a_fault(out, capsys):
    relabel(out / "colours", lambda about: {**about, "label": "mauve"})
    assert main(["verify", str(out / "colours")]) == 1
    assert "fault: 1 (label that is not the class of its .cls)" in capsys.readouterr().out


@pytest.mark.parametrize("change", [lambda _: {}, lambda _: [], lambda about: {**about, "label": 3}])
def test_a_set_of_others_needs_no_label(out, capsys, change):
    relabel(out / "colours", change)
    main(["verify", str(out / "colours")])
    assert "label that is not" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("blue\n\ngreen\nred\n", "classnames.txt has an empty line"),
        ("blue\ngreen\nred\nblue\n", "classnames.txt has a line twice"),
    ],
)
def test_class_lists_of_other_lines(out, capsys, content, fault):
    (out / "colours/classnames.txt").write_text(content)
    assert main(["verify", str(out / "colours")]) == 1
    assert f"({fault})" in capsys.readouterr().out


def test_a_class_list_that_is_shifted_is_a_fault(out, capsys):
    (out / "colours/classnames.txt").write_text("bl\nue\ngreen\nred\n")
    assert main(["verify", str(out / "colours")]) == 1
    assert "(label that is not the class of its .cls)" in capsys.readouterr().out
