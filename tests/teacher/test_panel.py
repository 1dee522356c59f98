"""The start model's labels to look at: which images and pairs, the weights, and the figures over all images."""

import math
from itertools import chain

import numpy as np
import pytest

from sclip_plugin import cli
from sclip_plugin.data.shard_list import ShardSet, expand
from sclip_plugin.diagnostics.calibration import Calibration
from sclip_plugin.errors import DataError
from sclip_plugin.inspection import panel
from sclip_plugin.keywords import Vocabulary
from sclip_plugin.teacher import trust_picture
from sclip_plugin.teacher.labels import StartLabels
from sclip_plugin.teacher.panel import labelled_images
from sclip_plugin.teacher.storage import save_labels
from tests.helpers.runs import write_run
from tests.helpers.shards import picture, write_tar

WORDS = Vocabulary(["red", "house", "boat"])
CAPTIONS: list[tuple[str, ...]] = [("a red house", "a house"), ("a boat",), (), ("nothing of these",), ("red boat",)]


@pytest.fixture
def folder(tmp_path):
    """Five pairs, the third without a caption, and two shards of unpaired images; the first image is broken."""
    pairs = [
        [(f"p{i}.png", picture(i)), *([(f"p{i}.txt", texts[0].encode())] if texts else [])]
        for i, texts in enumerate(CAPTIONS)
    ]
    write_tar(tmp_path / "paired" / "000000.tar", list(chain(*pairs[:3])))
    write_tar(tmp_path / "paired" / "000001.tar", list(chain(*pairs[3:])))
    images = [(f"u{i}.png", picture(10 + i) if i else b"no image") for i in range(6)]
    write_tar(tmp_path / "unpaired" / "000000.tar", images[:4])
    write_tar(tmp_path / "unpaired" / "000001.tar", images[4:])
    return tmp_path


def sets(folder):
    return (
        ShardSet.of(expand(str(folder / "paired"), "--train-data")),
        ShardSet.of(expand(str(folder / "unpaired"), "--unpaired-data")),
    )


def labels_of(weights, calibration=None) -> StartLabels:
    nearest = np.array([[0, 1], [0, 1], [3, 1], [3, 4], [4, 0], [1, 0]], dtype=np.int32)
    return StartLabels(nearest, np.array(weights, dtype=np.float32), CAPTIONS, calibration)


WEIGHTS = [[0, 0], [0.5, 0.25], [0.9, 0.1], [1, 0], [0.2, 0.6], [0, 0]]


def test_images_stand_beside_what_they_draw_from(folder):
    shown, figures = labelled_images(labels_of(WEIGHTS), *sets(folder), shown=4, vocabulary=WORDS)
    assert [one.picture.data for one in shown] == [picture(10 + i) for i in (1, 2, 4, 5)]  # two of each shard
    first = shown[0]
    assert first.captions == [("a red house", 0.5), ("a boat", 0.25)]
    assert [source.data for source in first.sources] == [picture(0), picture(1)]
    assert first.keywords == [("red", 0.25), ("house", 0.25), ("boat", 0.25)]
    assert first.effective_captions == pytest.approx(math.exp(-2 / 3 * math.log(2 / 3) - 1 / 3 * math.log(1 / 3)))
    assert shown[1].keywords == [("boat", pytest.approx(0.1))]
    assert shown[2].captions == [("a red house", pytest.approx(0.6)), ("red boat", pytest.approx(0.2))]
    assert (shown[3].captions, shown[3].sources, shown[3].keywords) == ([], [], [])
    assert figures["trust"] == pytest.approx((0.75 + 1 + 1 + 0.8) / 6)
    assert figures["trusted"] == pytest.approx(4 / 6)
    assert figures["without_candidates"] == pytest.approx(1 / 4)  # the fourth draws from a caption without keywords
    mass = np.array([1.1, 0.35, 1.9, 0.2]) / 3.55
    assert figures["captions_used"] == pytest.approx(math.exp(-(mass * np.log(mass)).sum()) / 5)


def test_keywords_of_the_nearest_caption_alone(folder):
    shown, figures = labelled_images(labels_of(WEIGHTS), *sets(folder), 4, WORDS, "nearest")
    assert shown[0].keywords == [("red", pytest.approx(0.375)), ("house", pytest.approx(0.375))]
    assert shown[1].keywords == []
    assert figures["without_candidates"] == pytest.approx(2 / 4)


def test_without_keywords(folder):
    shown, figures = labelled_images(labels_of(WEIGHTS), *sets(folder), shown=20)
    assert len(shown) == 5  # all that can be shown
    assert all(one.keywords is None for one in shown)
    assert "without_candidates" not in figures


def test_no_image_can_be_shown(folder):
    write_tar(folder / "unpaired" / "000000.tar", [("u.png", b"no image")])
    (folder / "unpaired" / "000001.tar").unlink()
    for listed in (folder / "unpaired").glob("*.json"):
        listed.unlink()
    with pytest.raises(DataError, match=r"--unpaired-data: no usable image among the first of 1 shards: 1 × undecodab"):
        labelled_images(labels_of(WEIGHTS), *sets(folder), shown=3)


def test_the_curve_and_the_trusts_are_drawn():
    line = Calibration(np.array([0.2, 0.8]), np.array([0.1, 0.9]))
    trusts = np.array([0.1, 0.1, 0.9])
    pixels = panel.pixels(trust_picture.draw(line, trusts))
    assert pixels.std() > 10
    other = Calibration(np.array([0.2, 0.8]), np.array([0.1, 0.5]))
    assert (pixels != panel.pixels(trust_picture.draw(other, trusts))).any()
    assert (pixels != panel.pixels(trust_picture.draw(line, trusts[:1]))).any()
    assert (pixels == panel.pixels(trust_picture.draw(line, trusts))).all()


def test_inspect_shows_the_labels_that_a_run_keeps(folder, capsys):
    run = write_run(folder / "run", "no-such-model", sclip_candidates="nearest")
    save_labels(labels_of(WEIGHTS), {"pairs": 5, "images": 6}, run / "sclip-labels.npz")
    (folder / "words.txt").write_text("\n".join(WORDS) + "\n")
    words = ["inspect", str(run), "--train-data", str(folder / "paired"), "--unpaired-data", str(folder / "unpaired")]
    words += ["--keywords", str(folder / "words.txt"), "--out"]
    assert cli.main([*words, str(folder / "p.png")]) == 0
    assert cli.main([*words, str(folder / "p.html")]) == 0
    assert (folder / "p.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "p.html").read_text()
    assert "the start model&#x27;s labels, 5 pairs" in page
    assert "a red house" in page
    told = capsys.readouterr().out
    assert "images with a pseudo-caption: 67%" in told
    assert "images without candidate keyword: 50%" in told  # as the run recorded: of the nearest caption
    for flag, value in (("--pairs", "8"), ("--sclip-pseudo-label", "ot-image"), ("--device", "cpu")):
        assert cli.main([*words, str(folder / "p.png"), flag, value]) == 2
        assert f"{flag} does nothing here: {run / 'sclip-labels.npz'} holds the start" in capsys.readouterr().err
    assert cli.main([*words, str(folder / "p.png"), "--images", "0"]) == 2
    assert "--images must be at least 1, got 0" in capsys.readouterr().err
    save_labels(labels_of(WEIGHTS), {"pairs": 5, "images": 7}, run / "sclip-labels.npz")
    assert cli.main([*words, str(folder / "p.png")]) == 1
    assert "labels of another run: images is 7, now 6" in capsys.readouterr().err
