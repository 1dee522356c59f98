"""Labelled images drawn: what the page and the picture hold."""

from dataclasses import replace

import numpy as np
import pytest

from sclip_plugin.inspection import panel
from sclip_plugin.inspection.labels import LabelledImage
from sclip_plugin.inspection.pictures import Picture
from tests.helpers.shards import picture

FIGURES = {"effective_captions": 2.5, "captions_used": 0.5, "label_entropy": 1.0, "without_candidates": 0.25}


def labelled(number: int, keywords: list[tuple[str, float]] | None) -> LabelledImage:
    captions = [("a <red> tree", 0.75), ("a blue river", 0.25)]
    sources = [Picture(picture(number + 10)), Picture(picture(number + 20))]
    return LabelledImage(Picture(picture(number)), captions, sources, keywords, 1.75)


@pytest.fixture
def images() -> list[LabelledImage]:
    return [labelled(number, [("tree", 0.625)]) for number in range(3)]


def test_the_page_holds_every_image_and_escapes_texts(images):
    page = panel.page(images, "a < b", FIGURES)
    assert page.count("<img ") == 9  # each image, and the paired images of its two captions
    assert ">pseudo-captions</b>: captions of paired images (the small pictures)" in page
    assert ">Candidate keywords</b> are those of the nearest pair's caption" in page
    assert "a &lt; b" in page
    assert page.count("<b>75%</b><span>a &lt;red&gt; tree</span>") == 3
    assert page.count("<b>62%</b><span>tree</span>") == 3
    assert page.count("draws from 1.8 captions in effect") == 3
    assert "captions an image draws from: 2.5" in page


def test_no_keyword_level_and_no_candidate_keyword_differ():
    assert "keyword" not in panel.page([labelled(0, None)], "t", {})
    assert "no candidate keyword" in panel.page([labelled(0, [])], "t", {})


def test_the_picture_is_drawn_and_dollars_are_no_mathematics(images):
    drawn = panel.pixels(panel.draw(images, "costs $5 or $6", FIGURES))
    assert drawn.dtype == np.uint8
    assert drawn.shape[2] == 3
    assert drawn.std() > 10
    bare = panel.pixels(panel.draw([labelled(number, None) for number in range(3)], "costs $5 or $6", FIGURES))
    assert bare.shape == drawn.shape
    assert not np.array_equal(bare, drawn)  # the bars of the keywords are missing
    others = [replace(image, sources=[Picture(picture(50)), Picture(picture(51))]) for image in images]
    assert not np.array_equal(panel.pixels(panel.draw(others, "costs $5 or $6", FIGURES)), drawn)


def test_figures_are_said_in_words_in_one_order():
    assert panel.sentences(FIGURES) == [
        "captions an image draws from: 2.5",
        "captions in use: 50%",
        "images without candidate keyword: 25%",
    ]
