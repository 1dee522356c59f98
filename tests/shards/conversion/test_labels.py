"""A label is one line: it stands on a line of `classnames.txt`, and the number in `.cls` counts lines."""

import json
import os

import pytest

from sclip_plugin.cli import main
from tests.helpers.conversion import check_counts, convert, image, manifest, members, source, write_csv

LINE_ENDS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
FLAGS = ("--as", "classification", "set")


def labelled(root, labels):
    """Images with these labels, in order."""
    source(root, captioned=0, bare=len(labels))
    rows = [(f"p{number:03d}.jpg", f"caption {number}", label) for number, label in enumerate(labels)]
    write_csv(root / "captions.csv", rows, ("filepath", "caption", "label"))
    return root


def classes_of(folder) -> dict[str, tuple[str, str]]:
    """{source: (line of the class list at the number in .cls, label in .json)}."""
    lines = (folder / "classnames.txt").read_text(encoding="utf-8").splitlines()
    found = {}
    for sample in members(folder / "test").values():
        about = json.loads(sample["json"])
        found[about["source"]] = (lines[int(sample["cls"])], about["label"])
    return found


@pytest.mark.parametrize("end", LINE_ENDS, ids=ascii)
def test_a_line_end_in_a_label_shifts_no_class(tmp_path, end):
    root = labelled(tmp_path, [f"a{end}b", "c", "d"])
    assert convert(root, tmp_path / "out", *FLAGS) == 0
    expected = {"p000.jpg": "a b", "p001.jpg": "c", "p002.jpg": "d"}
    assert classes_of(tmp_path / "out/set") == {name: (label, label) for name, label in expected.items()}
    assert main(["verify", str(tmp_path / "out/set")]) == 0


def test_labels_that_are_equal_then_are_one_class_and_counted(tmp_path, capsys):
    root = labelled(tmp_path, ["a b", "a\nb", " a  b", "  ", "c"])
    assert convert(root, tmp_path / "out", *FLAGS) == 0
    assert (tmp_path / "out/set/classnames.txt").read_text() == "a b\nc\n"
    counts = check_counts(tmp_path / "out/set")
    assert counts["images"]["skipped"] == {"no label": 1}
    assert list(counts["notes"].values()) == [2]
    assert "note: 2 (label put on one line" in capsys.readouterr().out


def test_class_folders_that_are_not_utf8_stay_apart(tmp_path):
    for number, name in enumerate((b"\xe9t\xe9", b"\xe8t\xe8")):
        folder = os.path.join(os.fsencode(tmp_path / "photos"), name)
        os.makedirs(folder)
        with open(os.path.join(folder, b"a.jpg"), "wb") as file:
            file.write(image(number))
    assert main(["convert", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), *FLAGS]) == 0
    assert len(set(classes_of(tmp_path / "out/set").values())) == 2
    assert main(["verify", str(tmp_path / "out/set")]) == 0


def test_the_set_records_which_images_it_takes(tmp_path):
    root = labelled(tmp_path, ["a", "b"])
    assert convert(root, tmp_path / "out", *FLAGS) == 0
    assert manifest(tmp_path / "out/set")["options"]["subset"] == "all"
