"""The figures of the pseudo-labels against plain computations."""

import math

import pytest
import torch
import torch.nn.functional as F

from sclip_plugin.diagnostics.measures import keyword_measures, label_measures, trust_measures
from tests.diagnostics.plans import random_plan


def slow_entropy(weights):
    return -sum(w * math.log(w) for w in weights if w > 0)


def test_label_measures_equal_plain_computations():
    plan = random_plan()
    plan[0] = torch.tensor([0.0, 1, 0, 0, 0])
    found = {name: value.item() for name, value in label_measures(plan).items()}
    rows = plan.tolist()
    entropies = [slow_entropy(row) for row in rows]
    mass = [sum(row[j] for row in rows) / 7 for j in range(5)]
    assert found["label_entropy"] == pytest.approx(sum(entropies) / 7, abs=1e-6)
    assert found["effective_captions"] == pytest.approx(sum(map(math.exp, entropies)) / 7, rel=1e-5)
    assert found["heaviest_weight"] == pytest.approx(sum(map(max, rows)) / 7)
    assert found["captions_used"] == pytest.approx(math.exp(slow_entropy(mass)) / 5, rel=1e-5)
    assert found["heaviest_caption"] == pytest.approx(max(mass))
    assert found["marginal_error"] == pytest.approx(sum(abs(m - 0.2) for m in mass), rel=1e-5)


def test_collapse_and_evenness_are_the_ends():
    one_for_all = torch.zeros(6, 4)
    one_for_all[:, 2] = 1
    assert label_measures(one_for_all)["captions_used"].item() == pytest.approx(1 / 4)
    assert label_measures(one_for_all)["marginal_error"].item() == pytest.approx(1.5)
    even = label_measures(torch.full((6, 4), 0.25))
    assert even["captions_used"].item() == pytest.approx(1)
    assert even["effective_captions"].item() == pytest.approx(4)


def keyword_case():
    generator = torch.Generator().manual_seed(1)
    queries, keywords = (F.normalize(torch.randn(n, 8, generator=generator), dim=1) for n in (6, 3))
    plan = torch.eye(5)[torch.tensor([0, 1, 2, 3, 4, 0])]
    candidates = torch.tensor([[1, 1, 0], [0, 0, 0], [0, 1, 0], [0, 1, 1], [1, 1, 1]], dtype=torch.bool)
    return plan, candidates, queries, keywords, torch.tensor(12.0)


def test_keyword_measures_equal_plain_computations():
    plan, candidates, queries, keywords, scale = keyword_case()
    found = {k: v.item() for k, v in keyword_measures(plan, candidates, queries, keywords, scale).items()}
    sets = [candidates[row.argmax()].tolist() for row in plan]
    inside = []
    for query, chosen in zip(queries, sets):
        weights = [math.exp(12 * float(query @ keyword)) for keyword in keywords]
        if any(chosen):
            inside.append(sum(w for w, yes in zip(weights, chosen) if yes) / sum(weights))
    assert found["without_candidates"] == pytest.approx(1 / 6)
    assert found["candidates_per_image"] == pytest.approx(sum(map(sum, sets)) / 6)
    assert found["keyword_confidence"] == pytest.approx(sum(inside) / len(inside), rel=1e-4)
    assert found["commonest_keyword"] == pytest.approx(5 / 6)
    assert found["commonest_index"] == 1


def test_trust_measures_equal_plain_computations():
    plan = torch.tensor([[0.25, 0.25, 0.0], [0.0, 0.0, 0.0], [0.0, 0.9, 0.0]])
    found = trust_measures(plan, plan.sum(dim=1))
    assert found["trust"].item() == pytest.approx((0.5 + 0 + 0.9) / 3)
    assert found["trusted"].item() == pytest.approx(2 / 3)
    assert found["drawn_captions"].item() == pytest.approx((2 + 1) / 2)  # of the two that count
    nothing = trust_measures(torch.zeros(2, 3), torch.zeros(2))
    assert [value.item() for value in nothing.values()] == [0, 0, 0]


def test_autocast_and_other_types_change_nothing():
    plan, candidates, queries, keywords, scale = keyword_case()
    expected = keyword_measures(plan, candidates, queries, keywords, scale)["keyword_confidence"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(keyword_measures(plan, candidates, queries, keywords, scale)["keyword_confidence"], expected)
    double = keyword_measures(plan, candidates, queries.double(), keywords.double(), scale)
    assert double["keyword_confidence"].dtype == torch.float32
    assert double["keyword_confidence"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_no_candidates_at_all_is_finite():
    plan, _, queries, keywords, scale = keyword_case()
    found = keyword_measures(plan, torch.zeros(5, 3, dtype=torch.bool), queries, keywords, scale)
    assert found["without_candidates"] == 1
    assert all(torch.isfinite(value) for value in found.values())
