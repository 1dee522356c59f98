"""Recipes: each can be loaded, finds its files, names classes as people do."""

import json

import pytest

from sclip_plugin.cli import main
from sclip_plugin.keywords import Vocabulary
from sclip_plugin.shards.readers import FORMATS
from sclip_plugin.shards.recipes import recipe as recipes
from tests.helpers import formats as fixtures
from tests.helpers.conversion import check_counts, image, members

PAPER = {"rsicd", "ucm-captions", "sydney-captions", "rsicd-cls", "ucm-cls", "whu-rs19", "rsscn7", "aid", "resisc45"}
PAPER |= {
    "fashion200k",
    "fashion200k-cls",
    "fashiongen",
    "fashiongen-cls",
    "polyvore",
    "polyvore-cls",
    "scicap",
    "simpsons",
}


def convert(*words) -> int:
    return main(["convert", *map(str, words)])


def test_every_data_set_of_the_paper_has_a_recipe():
    assert set(recipes.names()) >= PAPER


@pytest.mark.parametrize("name", recipes.names())
def test_recipes_are_whole(name):
    recipe = recipes.load(name)
    assert recipe.title
    if recipe.parts:
        assert all(recipes.load(part).kind == recipes.CAPTIONS for part in recipe.parts)
        return
    assert recipe.format in FORMATS
    assert recipe.kind in (recipes.CAPTIONS, recipes.CLASSIFICATION)
    assert recipe.homepage.startswith("http")
    assert recipe.licence
    assert recipe.layout
    assert recipe.templates
    assert all("{c}" in template for template in recipe.templates)
    if recipe.classes:
        Vocabulary(recipe.classes.values())  # refuses two that are equal
        assert all(said == said.strip() and "_" not in said for said in recipe.classes.values())


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("aid", 30),
        ("rsicd", 30),
        ("ucm-cls", 21),
        ("ucm-captions", 21),
        ("whu-rs19", 19),
        ("rsscn7", 7),
        ("resisc45", 45),
        ("sydney-captions", 7),
        ("simpsons-characters", 42),
    ],
)
def test_numbers_of_classes(name, classes):
    assert len(recipes.load(name).classes) == classes


def test_class_names_of_the_source_are_matched_without_case_and_punctuation():
    aid = recipes.load("aid")
    assert {aid.label(name) for name in ("BareLand", "bareland", "bare_land", "Bare Land")} == {"bare land"}
    assert aid.label("Airfield") is None
    assert recipes.load("fashiongen").label("anything") == "anything"


def test_list(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["convert", "--list"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    for name in recipes.names():
        assert f"{name}: {recipes.load(name).title}" in said
    assert "SOURCEs, in this order: rsicd, ucm-captions, sydney-captions" in said


def test_rsicd_holds_out_its_test_images_and_labels_them(tmp_path, capsys):
    source = fixtures.karpathy(tmp_path / "RSICD")
    fixtures.class_lists(source)
    assert convert("--recipe", "rsicd", source, "--out", tmp_path / "out") == 0
    counts = check_counts(tmp_path / "out")
    assert counts["images"]["written"] == {"paired": 7, "unpaired": 1, "val": 2}
    assert counts["images"]["skipped"] == {"in the source's own split 'val'": 2}
    labels = {json.loads(one["json"]).get("label") for one in members(tmp_path / "out/paired").values()}
    assert labels == {"airport", "bare land"}
    assert (tmp_path / "out/val/zeroshot_classification_templates.txt").read_text() == "an aerial photograph of {c}.\n"
    assert convert("--recipe", "rsicd-cls", source, "--out", tmp_path / "out") == 0
    folder = tmp_path / "out/rsicd-cls"
    assert (folder / "classnames.txt").read_text() == "airport\nbare land\n"
    assert (folder / "zeroshot_classification_templates.txt").read_text() == "an aerial photograph of {c}.\n"
    assert {one["cls"] for one in members(folder / "test").values()} == {b"0", b"1"}
    assert set(members(folder / "test")) == set(members(tmp_path / "out/val/test"))
    check_counts(folder)


def test_rs_all_joins_three_sources(tmp_path):
    sources = [
        fixtures.karpathy(tmp_path / "RSICD"),
        fixtures.karpathy(tmp_path / "UCM", "imgs", "tif", "dataset.json"),
        fixtures.karpathy(tmp_path / "Sydney", "imgs", "tif", "dataset.json"),
    ]
    # other pictures in each, as in the real ones
    for number, source in enumerate(sources):
        for path in sorted(source.glob("*/*.*")):
            path.write_bytes(
                image(1000 * number + sum(path.name.encode()), "TIFF" if path.suffix == ".tif" else "JPEG")
            )
    assert convert("--recipe", "rs-all", *sources, "--out", tmp_path / "all") == 0
    words = [
        word
        for name, source in zip(("rsicd", "ucm-captions", "sydney-captions"), sources)
        for word in ("--recipe", name, source)
    ]
    assert convert(*words, "--out", tmp_path / "each") == 0
    counts = check_counts(tmp_path / "all")
    assert counts["images"]["written"] == {"paired": 21, "unpaired": 3, "val": 6}
    assert counts["recoded"] == {"TIFF format": 20}
    names = {json.loads(one["json"])["source"].split("/")[0] for one in members(tmp_path / "all/paired").values()}
    assert names == {"rsicd", "ucm-captions", "sydney-captions"}
    for part in ("paired", "unpaired", "val/test"):
        assert members(tmp_path / "all" / part) == members(tmp_path / "each" / part)


def test_folder_recipes_name_and_leave_out(tmp_path, capsys):
    for number, name in enumerate(("aGrass", "eForest", "notes")):
        (tmp_path / "RSSCN7" / name).mkdir(parents=True)
        (tmp_path / "RSSCN7" / name / f"{number}.jpg").write_bytes(image(number))
    assert convert("--recipe", "rsscn7", tmp_path, "--out", tmp_path / "out") == 0
    assert (tmp_path / "out/rsscn7/classnames.txt").read_text() == "forest\ngrass\n"
    counts = check_counts(tmp_path / "out/rsscn7")
    assert counts["images"]["skipped"] == {"no label": 1}
    assert counts["notes"] == {"label is not among the recipe's classes": 1}


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("--recipe", "nothing", "{tmp}"), 2, "--recipe: no recipe 'nothing'; there are: aid, "),
        (("--recipe", "rsicd", "{tmp}"), 1, "recipe rsicd expects dataset_rsicd.json or dataset.json there"),
        (("--recipe", "rs-all", "{tmp}"), 2, "3 recipes (rsicd, ucm-captions, sydney-captions) for 1 SOURCEs"),
        (("--recipe", "aid", "{tmp}", "--recipe", "rsscn7", "{tmp}"), 2, "aid makes a classification set of its own"),
        (("{tmp}", "{tmp}", "--images", "{tmp}"), 2, "--images goes with one SOURCE"),
        (("{tmp}", "--val-split", "test", "--val-ratio", "0.1"), 2, "--val-split and --val-ratio exclude each other"),
    ],
)
def test_refusals(tmp_path, capsys, words, status, message):
    (tmp_path / "in").mkdir()
    words = [word.format(tmp=tmp_path / "in") for word in words]
    assert convert(*words, "--out", tmp_path / "out") == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_own_splits_and_the_flags_that_change_them(tmp_path, capsys):
    source = fixtures.karpathy(tmp_path / "source")
    for name, flags, val in (
        ("default", (), 4),
        ("test", ("--val-split", "test"), 2),
        ("ratio", ("--val-ratio", "0.3"), 3),
        ("none", ("--val-ratio", "0"), 0),
    ):
        assert convert(source, "--out", tmp_path / name, *flags) == 0
        assert check_counts(tmp_path / name)["images"]["written"].get("val", 0) == val
    assert "the source's own split does not count" in capsys.readouterr().out
