"""Pictures of a retrieval set pasted on canvases: a set of regions."""

import random

import pytest
from PIL import Image, ImageChops

from sclip_plugin.commands.demo import pasted
from sclip_plugin.evaluation.regions import open_regions
from tests.evaluation.sets import classification_set, retrieval_set


def test_a_set_of_regions_with_what_was_pasted(tmp_path, capsys):
    source = str(retrieval_set(tmp_path / "r"))
    assert pasted.main([source, str(tmp_path / "out"), "--number", "4", "--each", "3"]) == 0
    found = open_regions(tmp_path / "out")
    assert len(found.pictures) == 4
    assert not found.skipped
    for file, regions in found.pictures.items():
        assert len({one.caption for one in regions}) == 3
        with Image.open(file) as canvas:
            assert canvas.size == (pasted.SIDE, pasted.SIDE)
            for one in regions:
                left, top, side, _ = one.box
                assert canvas.crop((left, top, left + side, top + side)).getcolors(1) is None, "a picture, no ground"
    assert pasted.main([source, str(tmp_path / "again"), "--number", "4", "--each", "3"]) == 0
    for path in (tmp_path / "out").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(tmp_path / "out")).read_bytes()


def test_places_do_not_overlap():
    for seed in range(20):
        drawn = Image.new("L", (pasted.SIDE, pasted.SIDE))
        squares = pasted.places(pasted.MOST, random.Random(seed))
        for left, top, side in squares:
            box = (left, top, left + side, top + side)
            assert drawn.crop(box).getbbox() is None
            drawn.paste(255, box)
        assert ImageChops.invert(drawn).getbbox() is not None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{r}", "{o}", "--each", "9"], "--each from 2 to 8"),
        (["{r}", "{o}", "--each", "8"], "r: fewer than 8 captions that differ"),
        (["{c}", "{o}"], "not one for retrieval"),
        (["{r}", "{r}", "--each", "3", "--number", "1"], "r: Directory not empty"),
    ],
)
def test_refusals(tmp_path, capsys, words, message):
    places = {"{r}": retrieval_set(tmp_path / "r"), "{c}": classification_set(tmp_path / "c"), "{o}": tmp_path / "o"}
    assert pasted.main([str(places.get(word, word)) for word in words]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
