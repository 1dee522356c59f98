"""Isotonic regression against the formula that defines it."""

import numpy as np
import pytest

from sclip_plugin.diagnostics.calibration import calibrate


def transcription(similarities, outcomes):
    """The max-min formula, one distinct similarity after the other: max over j ≤ i of min over k ≥ i of mean(j … k)."""
    distinct = sorted(set(similarities))
    observed = [[outcome for one, outcome in zip(similarities, outcomes) if one == place] for place in distinct]

    def mean(first, last):
        flat = [outcome for some in observed[first : last + 1] for outcome in some]
        return sum(flat) / len(flat)

    last = len(distinct)
    fitted = [max(min(mean(j, k) for k in range(i, last)) for j in range(i + 1)) for i in range(last)]
    return distinct, fitted


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_transcription(seed):
    rng = np.random.default_rng(seed)
    number = int(rng.integers(1, 40))
    places = rng.integers(0, 15, number) / 15 if seed % 2 else rng.random(number)  # with ties, and without
    outcomes = rng.random(number) if seed % 4 > 1 else (rng.random(number) < places).astype(float)
    distinct, fitted = transcription(places.tolist(), outcomes.tolist())
    line = calibrate(places, outcomes)
    np.testing.assert_allclose(line.at(np.array(distinct)), fitted, atol=1e-12)
    assert set(line.similarities) <= set(distinct)
    assert (np.diff(line.probabilities) >= 0).all()
    assert line.at(places).mean() == pytest.approx(outcomes.mean())  # what is observed is kept on the whole


def test_straight_between_corners_and_level_beyond():
    line = calibrate(np.array([0.0, 1.0]), np.array([0.2, 0.8]))
    np.testing.assert_allclose(line.at(np.array([-1, 0.25, 0.5, 2])), [0.2, 0.35, 0.5, 0.8])
    falling = calibrate(np.array([0.0, 1.0]), np.array([1, 0]))
    assert falling.at(np.array([-1, 0.5, 2])).tolist() == [0.5, 0.5, 0.5]


def test_refusals():
    with pytest.raises(ValueError, match=r"must be \(N,\) with N >= 1, got \(0,\), \(0,\)"):
        calibrate(np.array([]), np.array([]))
    with pytest.raises(ValueError, match=r"got \(2,\), \(3,\)"):
        calibrate(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="must be finite"):
        calibrate(np.array([0.0, np.nan]), np.zeros(2))
