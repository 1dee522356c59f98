"""The cross-entropies whose derivatives are written by hand, against autograd on the formulas of docs/method.md."""

import pytest
import torch
import torch.nn.functional as F

from sclip_plugin.loss.cross_entropy import row_cross_entropy, supervised_and_caption
from tests.loss.cases import gradients, unit

B, U, D = 4, 6, 5


@pytest.fixture
def features():
    """Scale, I, T, Q as leaves in float64, and a plan."""
    generator = torch.Generator().manual_seed(0)
    leaves = [torch.tensor(7.0, dtype=torch.float64, requires_grad=True)]
    leaves += [unit(rows, D, generator=generator) for rows in (B, B, U)]
    return leaves, torch.softmax(torch.randn(U, B, generator=generator, dtype=torch.float64), dim=1)


def plain_terms(scale, images, texts, unpaired, plan):
    """L_clip and L_cap in torch's own functions."""
    own = torch.arange(B)
    by_text = scale * texts @ torch.cat([images, unpaired]).T
    supervised = (F.cross_entropy(scale * images @ texts.T, own) + F.cross_entropy(by_text, own)) / 2
    return supervised, F.cross_entropy(scale * unpaired @ texts.T, plan)


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (2.0, 0.3)])
def test_both_terms_have_the_gradients_of_autograd_whatever_each_counts(features, weights):
    leaves, plan = features
    named = dict(zip("sITQ", leaves))
    found, expected = supervised_and_caption(*leaves, plan), plain_terms(*leaves, plan)
    torch.testing.assert_close(found, expected)
    one, other = (gradients(sum(w * t for w, t in zip(weights, terms)), named) for terms in (found, expected))
    torch.testing.assert_close(one, other)


def test_without_a_plan_there_is_no_caption_level(features):
    leaves, plan = features
    supervised, caption = supervised_and_caption(*leaves, None)
    assert caption is None
    expected = torch.autograd.grad(plain_terms(*leaves, plan)[0], leaves)
    torch.testing.assert_close(torch.autograd.grad(supervised, leaves), expected)


@pytest.mark.parametrize("frozen", [0, 1, 2, 3])
def test_a_frozen_input_gets_no_gradient_and_changes_no_other(features, frozen):
    leaves, plan = features
    expected = torch.autograd.grad(sum(plain_terms(*leaves, plan)), leaves)
    given = [leaf.detach() if i == frozen else leaf for i, leaf in enumerate(leaves)]
    rest = [i for i in range(4) if i != frozen]
    found = torch.autograd.grad(sum(supervised_and_caption(*given, plan)), [leaves[i] for i in rest])
    torch.testing.assert_close(found, tuple(expected[i] for i in rest))


@pytest.mark.parametrize("kind", ["targets", "own", "later"])
def test_rows_have_the_gradients_of_autograd(features, kind):
    (scale, images, _, unpaired), plan = features
    weights = torch.tensor([1.0, 0.0, 0.4, 1.0, 1.0, 1.0], dtype=torch.float64).unsqueeze(1) * plan
    rows, columns, targets = {
        "targets": (unpaired, images, weights),
        "own": (images, unpaired, 0),
        "later": (images, unpaired, 2),
    }[kind]
    wanted = targets if kind == "targets" else torch.arange(targets, targets + len(rows))
    expected, found = (
        F.cross_entropy(scale * rows @ columns.T, wanted),
        row_cross_entropy(scale, rows, columns, targets),
    )
    torch.testing.assert_close(found, expected)
    leaves = [scale, rows, columns]
    torch.testing.assert_close(torch.autograd.grad(3 * found, leaves), torch.autograd.grad(3 * expected, leaves))


def test_there_is_no_second_derivative(features):
    leaves, plan = features
    first = torch.autograd.grad(supervised_and_caption(*leaves, plan)[0], leaves[1], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="does not require grad"):
        first.sum().backward()
