"""The dataset card: it declares what the shards hold, and Hugging Face's loader then gives every image."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sclip_plugin.cli import main
from sclip_plugin.shards import layout
from tests.helpers.conversion import convert, image, members, tree, write_csv

FORMS = (("JPEG", "jpg"), ("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"))
LOADED = """
import json, sys
from datasets import disable_progress_bars, load_dataset
disable_progress_bars()
FORMS = ("jpg", "png", "webp")
found = {}
for part in sys.argv[2:]:
    for split, samples in load_dataset(sys.argv[1], part).items():
        found[part] = [
            {"split": split, "key": one["__key__"], "text": one.get("txt"), "about": one["json"],
             "class": one.get("cls"), "images": {name: one[name].size for name in FORMS if one.get(name)}}
            for one in samples
        ]
print(json.dumps(found))
"""


def mixed_source(root: Path) -> Path:
    """40 captioned images of three formats, of which every other has a label, and 12 bare ones."""
    (root / "photos").mkdir(parents=True)
    rows = []
    for number in range(52):
        form, suffix = FORMS[number % len(FORMS)]
        name = f"p{number:02d}.{suffix}"
        (root / "photos" / name).write_bytes(image(number, form))
        if number < 40:
            rows.append((name, f"a tree, number {number}", ("", "green", "", "red")[number % 4], ""))
    write_csv(root / "captions.csv", rows)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = mixed_source(tmp_path_factory.mktemp("source"))
    assert convert(root, root / "shards") == 0
    assert convert(root, root / "shards", "--as", "classification", "colours") == 0
    return root


def header(folder: Path) -> dict:
    """The YAML of a card."""
    dashes, text, _ = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert dashes == ""
    return yaml.safe_load(text)


def declared(folder: Path) -> dict[str, tuple[set[str], set[str]]]:
    """{part: (its columns but the loader's own, the fields of its .json)}."""
    found = {}
    for one in header(folder)["dataset_info"]:
        columns = {feature["name"]: feature for feature in one["features"]}
        fields = {field["name"] for field in columns["json"]["struct"]}
        found[one["config_name"]] = (columns.keys() - {"__key__", "__url__"}, fields)
    return found


def held(folder: Path) -> tuple[set[str], set[str]]:
    """(suffixes of the members, fields of the .json) over all samples of a folder of shards."""
    samples = members(folder).values()
    return {one for sample in samples for one in sample}, {
        one for sample in samples for one in json.loads(sample["json"])
    }


def test_the_card_declares_what_each_part_holds(root):
    shards = root / "shards"
    parts = {name: shards / layout.shard_folder(name) for name in layout.TRAINING}
    assert declared(shards) == {name: held(folder) for name, folder in parts.items()}
    assert {"jpg", "png", "webp"} < held(parts["paired"])[0]  # else the source says nothing
    assert declared(shards / "colours") == {"classes": held(shards / "colours" / "test")}
    configs = {one["config_name"]: one for one in header(shards)["configs"]}
    assert [name for name, one in configs.items() if one.get("default")] == ["paired"]
    for name, folder in parts.items():
        (files,) = configs[name]["data_files"]
        assert sorted(shards.glob(files["path"])) == sorted(folder.glob("*.tar"))
    text = (shards / "README.md").read_text()
    assert "| `paired` | 36 | 36 | 4 |" in text
    assert "| images | no label |" in (shards / "colours" / "README.md").read_text()


def test_the_same_conversion_gives_the_same_card_and_verify_accepts_it(root, tmp_path, capsys):
    assert convert(root, tmp_path / "again", "--workers", 3) == 0
    assert (tmp_path / "again" / "README.md").read_bytes() == (root / "shards" / "README.md").read_bytes()
    for folder in (root / "shards", root / "shards" / "colours"):
        assert main(["verify", str(folder)]) == 0
    assert "no fault" in capsys.readouterr().out


def test_split_writes_a_card_too(root, tmp_path):
    assert main(["split", str(root / "shards"), "--out", str(tmp_path / "half"), "--paired-ratio", "0.5"]) == 0
    assert declared(tmp_path / "half").keys() == set(layout.TRAINING)
    text = (tmp_path / "half" / "README.md").read_text()
    assert "| captions | hidden by --paired-ratio | 18 |" in text
    assert "| images | " not in text.replace("| part | images |", "")  # none was left out


def test_a_readme_of_the_users_own_is_kept(root, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "README.md").write_text("mine")
    assert convert(root, out) == 0
    assert (out / "README.md").read_text() == "mine"
    assert f"note: {out / 'README.md'} is yours" in capsys.readouterr().out
    (out / "README.md").unlink()
    assert convert(root, out) == 0  # the shards are finished; the card is added
    assert tree(out)["README.md"] == (root / "shards" / "README.md").read_bytes()
    (out / "README.md").write_text(f"{layout.CARD_MARK} changed")
    assert convert(root, out) == 0
    assert tree(out)["README.md"] == (root / "shards" / "README.md").read_bytes()


def test_names_that_are_special_in_yaml_are_read_back(tmp_path):
    labels = ["yes", "a: b", "# c", "é ⏎ 😀", "- d", "{e}", "'f\"", "1"]
    (tmp_path / "photos").mkdir()
    for number in range(len(labels)):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(image(number))
    write_csv(tmp_path / "captions.csv", [(f"{n}.jpg", "x", label, "") for n, label in enumerate(labels)])
    assert convert(tmp_path, tmp_path / "out", "--as", "classification", "odd") == 0
    (info,) = header(tmp_path / "out" / "odd")["dataset_info"]
    (column,) = [one for one in info["features"] if one["name"] == "cls"]
    names = column["dtype"]["class_label"]["names"]
    assert [names[str(number)] for number in range(len(names))] == sorted(labels)


def load(folder: Path, cache: Path, *parts: str) -> dict:
    """What Hugging Face's loader gives, in a process and with a cache of its own."""
    env = {"HOME": str(cache), "HF_HOME": str(cache), "HF_HUB_OFFLINE": "1", "PATH": ""}
    command = [sys.executable, "-c", LOADED, str(folder), *parts]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_hugging_face_loads_every_image_of_every_part(root, tmp_path):
    pytest.importorskip("datasets")
    shards = root / "shards"
    found = load(shards, tmp_path, *layout.TRAINING)
    for part in layout.TRAINING:
        there = members(shards / layout.shard_folder(part))
        assert {one["key"] for one in found[part]} == there.keys()
        for one in found[part]:
            sample, about = there[one["key"]], json.loads(there[one["key"]]["json"])
            assert one["images"].keys() == sample.keys() & {"jpg", "png", "webp"}
            assert one["text"] == (sample["txt"].decode() if "txt" in sample else None)
            assert {name: value for name, value in one["about"].items() if value is not None} == about
    assert {one["split"] for one in found["val"]} == {"validation"}
    colours = load(shards / "colours", tmp_path, "classes")["classes"]
    names = (shards / "colours" / "classnames.txt").read_text().splitlines()
    assert {names[one["class"]] == one["about"]["label"] for one in colours} == {True}
