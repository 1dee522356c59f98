"""The advice that each kind of evidence gives."""

from dataclasses import replace

import numpy as np
import pytest

from sclip_plugin.commands.checkup.estimates import Estimate, Gap, Level
from sclip_plugin.commands.checkup.evidence import Evidence, Levels, Nearness
from sclip_plugin.commands.checkup.picture import draw, spread_rows
from sclip_plugin.commands.checkup.recommendation import LITTLE, SURE, recommend
from sclip_plugin.commands.checkup.vocabulary import Words
from sclip_plugin.diagnostics.calibration import calibrate
from sclip_plugin.inspection.pictures import Picture
from tests.helpers.shards import picture


def exactly(share: float) -> Estimate:
    return Estimate(share, share, share, share)


def level(right: float, reachable: float, chance: float = 0.02) -> Level:
    return Level(exactly(right), exactly(right), exactly(reachable), exactly(1), chance)


NEAR = np.array([0.1, 0.9])
NEARNESS = Nearness(NEAR, np.array([0.0, 1.0]), NEAR, np.array([0, 1]), calibrate(NEAR, np.array([0.0, 1.0])))
ALIKE = Gap(0.7, 0.7, 0.5, 0.05)


def evidence(captions: Level, keywords: Level | None = None, **more) -> Evidence:
    levels = Levels(captions, keywords)
    return replace(Evidence(32, levels, levels, ALIKE, [], None, None, NEARNESS), **more)


@pytest.mark.parametrize(
    ("right", "reachable", "chance", "verdict"),
    [
        (0.12, LITTLE, 0.02, "keywords-on-pairs"),
        (0.12, LITTLE - 0.01, 0.02, "supervised"),
        (0.05, LITTLE - 0.01, 0.02, "supervised"),  # hardly above chance, and little within reach
        (0.05, 0.9, 0.02, "start-model"),  # hardly above chance, though a batch holds what fits
        (SURE + 0.03, SURE + 0.03, 0.02, "published"),  # all that is within reach is found
        (SURE + 0.21, 1.0, 0.2, "published"),  # long captions
        (0.3, 0.9, 0.2, "start-model"),
        (0.0, 0.0, 0.0, "supervised"),
    ],
)
def test_verdicts_without_keywords(right, reachable, chance, verdict):
    found = recommend(evidence(level(right, reachable, chance)))
    assert found.verdict == verdict
    assert found.headline in found.sentences[0]


@pytest.mark.parametrize(("pruned", "verdict"), [(0, "published"), (6, "published"), (7, "supervised")])
@pytest.mark.parametrize("captions", [level(0.12, 0.9), level(0.05, 0.3), level(0.05, 0.9)], ids=str)
def test_with_keywords_the_vocabulary_decides(captions, pruned, verdict):
    words = Words(20, [], [], [], 14, [], pruned, 0.0, [])
    assert recommend(evidence(captions, level(0.1, 0.9), words=words)).verdict == verdict
    sure = level(SURE + 0.03, 0.9)
    assert recommend(evidence(sure, level(0.1, 0.9), words=words)).verdict == "published"


def test_an_interval_over_the_limit_is_told():
    around = Estimate(LITTLE, LITTLE, LITTLE - 0.02, LITTLE + 0.02)
    wide = replace(level(0.12, LITTLE), reachable_in_batch=around)
    assert any(f"and at {LITTLE:.0%} the advice changes" in text for text in recommend(evidence(wide)).sentences)
    for sure in (level(0.12, LITTLE), replace(wide, right_in_batch=exactly(SURE + 0.03))):
        assert not any("the advice changes" in text for text in recommend(evidence(sure)).sentences)


def test_remarks():
    good = level(0.5, 0.8)
    assert any(text.startswith("Without --keywords nothing is said") for text in recommend(evidence(good)).sentences)
    strange = recommend(evidence(good, gap=Gap(0.7, 0.3, 0.1, 0.6))).sentences
    assert any(text.startswith("60% of the unpaired images are unlike the pairs") for text in strange)
    more = replace(good, right=exactly(1.0))
    assert any("larger batches, or labels from all pairs" in text for text in recommend(evidence(more)).sentences)


def test_remarks_on_the_vocabulary():
    good = level(0.5, 0.8)
    words = Words(20, [], ["style"] * 9, [], 14, [], 9, 0.0, [])

    def said(words: Words, keywords: Level | None) -> str:
        return " ".join(recommend(evidence(good, words=words, keywords=keywords)).sentences)

    poor = said(words, level(0.1, 0.9, 0.08))
    assert "9 of 20 keywords do not help, as sclip keywords --prune finds" in poor
    assert "No keyword that tells pairs apart is in their captions" in said(words, None)
    fine = said(replace(words, pruned=2), good)
    assert "prune" not in fine


def test_shown_images_are_spread_over_the_order_of_similarity():
    similarities = np.random.default_rng(0).permutation(101) / 100
    shown = similarities[spread_rows(similarities, 6)].tolist()
    assert shown == sorted(shown, reverse=True)
    assert (shown[0], shown[-1]) == pytest.approx((0.98, 0.02))
    assert np.diff(shown) == pytest.approx(-0.19, abs=0.02)
    assert spread_rows(np.array([0.5, 0.7]), 6) == [1, 0]
    assert spread_rows(np.array([0.5]), 6) == [0]


def test_a_picture_of_equal_similarities_and_of_a_dollar_sign():
    same = np.full(3, 0.5)
    nearness = Nearness(same, np.ones(3), same, np.zeros(3, dtype=np.int64), calibrate(same, np.ones(3)))
    shown = [Picture(picture(seed), ("costs $5 or $6_",)) for seed in range(3)]
    assert draw(nearness, shown, shown, "$1 and $2").startswith(b"\x89PNG")
