"""What left-out pairs tell, against counting all batches one by one."""

from itertools import combinations

import numpy as np
import pytest

from sclip_plugin.commands.checkup.estimates import Similarities, estimate, gap_between, nearest_pairs
from sclip_plugin.commands.checkup.evidence import group_numbers
from sclip_plugin.teacher.agreement import Neighbours, content_words, leave_one_out


def features(rng, number, width=5):
    drawn = rng.normal(size=(number, width)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def transcription(vectors, groups, bags, batch):
    """The five figures of each pair, by going through every batch that could be drawn."""
    found = []
    for own in range(len(vectors)):
        others = [other for other in range(len(vectors)) if groups[other] != groups[own]]
        others.sort(key=lambda other: -float(vectors[own] @ vectors[other]))
        fits = {other: bool(bags[own] & bags[other]) for other in others}
        batches = [set(drawn) for drawn in combinations(others, min(batch, len(others)))]
        nearest = [fits[next(other for other in others if other in drawn)] for drawn in batches]
        some = [any(fits[other] for other in drawn) for drawn in batches]
        share = np.mean(list(fits.values()))
        found.append((fits[others[0]], np.mean(nearest), any(fits.values()), np.mean(some), share))
    return np.array(found, dtype=float).T


@pytest.mark.parametrize("batch", [1, 3, 8, 50])
@pytest.mark.parametrize("grouped", [False, True])
def test_equals_the_transcription(batch, grouped):
    rng = np.random.default_rng(batch)
    vectors = features(rng, 9)
    groups = np.array([0, 0, 1, 2, 2, 2, 3, 4, 5]) if grouped else np.arange(9)
    bags = [frozenset(rng.choice(6, size=int(rng.integers(0, 3)), replace=False).tolist()) for _ in range(9)]
    found = leave_one_out(Neighbours(vectors, groups), bags, batch)
    expected = transcription(vectors, groups, bags, batch)
    shown = (found.right, found.right_in_batch, found.reachable, found.reachable_in_batch, found.chance)
    np.testing.assert_allclose(np.array(shown), expected, atol=1e-9)


def test_content_words_leave_out_what_says_nothing():
    captions = [["A lamp, outline"], ["the Lamp 12 b outline"], ["outline boat"], ["outline of boats", "boat"]]
    found = content_words(captions, frozenset({"the", "of"}), 0.5)
    assert found.common == [("outline", 1.0)]
    shared = [[bool(one & other) for other in found.bags] for one in found.bags]
    assert shared == [[True, True, False, False]] * 2 + [[False, False, True, True]] * 2
    assert len(found.bags[3]) == 2  # boats, boat


def test_a_group_is_left_out_as_a_whole_where_the_parts_share_none():
    numbers, count = group_numbers(["b", "a", None, "b", None], ["c", None])
    assert numbers[0] == numbers[3]
    assert len(set(numbers.tolist())) == count == 4
    for pairs, unpaired in ((["a", "a"], []), (["a", "a", "b"], ["b"]), ([None, None], []), (["a", "b"], [])):
        numbers, count = group_numbers(pairs, unpaired)
        assert (len(set(numbers.tolist())), count) == (len(pairs), None)


def test_unpaired_images_are_compared_with_all_pairs():
    rng = np.random.default_rng(0)
    unpaired, pairs = features(rng, 1500), features(rng, 7)  # more than a block
    best, which = nearest_pairs(unpaired, pairs)
    np.testing.assert_allclose(best, (unpaired @ pairs.T).max(axis=1), atol=1e-5)
    assert which.tolist() == (unpaired @ pairs.T).argmax(axis=1).tolist()


def test_the_gap_is_none_for_the_same_images_and_full_for_distant_ones():
    near = np.linspace(0.5, 0.9, 101)
    same = gap_between(near, near)
    assert (same.pairs, same.unpaired, same.rank) == pytest.approx((0.7, 0.7, 0.5))
    assert same.beyond == pytest.approx(0.05, abs=0.01)
    far = gap_between(near, near - 0.5)
    assert (far.unpaired, far.rank, far.beyond) == pytest.approx((0.2, 0, 1))


def test_the_estimate_follows_the_similarities_of_the_unpaired_images():
    rng = np.random.default_rng(1)
    near = rng.random(400)
    outcomes = (rng.random(400) < near).astype(float)  # the probability is the similarity
    alike, close = (
        estimate(outcomes, Similarities(near, np.arange(400), far))
        for far in (rng.random(300), 0.8 + 0.2 * rng.random(300))
    )
    assert alike.pairs == outcomes.mean()
    assert alike.low < 0.5 < alike.high
    assert close.low < 0.9 < close.high
    assert close.low > alike.high


def test_copies_of_a_pair_in_its_group_do_not_narrow_the_interval():
    rng = np.random.default_rng(2)
    near, far = rng.random(60), rng.random(100)
    outcomes = (rng.random(60) < 0.5).astype(float)
    once = estimate(outcomes, Similarities(near, np.arange(60), far))
    copied = estimate(np.repeat(outcomes, 4), Similarities(np.repeat(near, 4), np.repeat(np.arange(60), 4), far))
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    alone = estimate(np.repeat(outcomes, 4), Similarities(np.repeat(near, 4), np.arange(240), far))
    assert alone.high - alone.low < 0.7 * (once.high - once.low)
