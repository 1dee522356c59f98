"""Bad input, extreme numbers, refusals, gradient flow, accumulation, and no read-back to the host."""

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from sclip_plugin import SClipLoss
from tests.loss.cases import as_reference, difference, gradients, make_inputs
from tests.loss.reference import KEYWORD_TARGETS, PSEUDO_LABELS, reference_loss

HALF = [torch.float16, torch.bfloat16]


def assert_finite(inputs, **options):
    terms = SClipLoss(**options)(**inputs, output_dict=True)
    assert all(value.isfinite() for value in terms.values()), terms
    for name, grad in gradients(sum(terms.values()), inputs).items():
        assert grad.isfinite().all(), name
    return terms


def equal_features(dtype=torch.float32):
    """Every feature the same unit vector: all cosines 1, every argmax a tie."""
    inputs = make_inputs(4, 5, 3, dtype=dtype)
    for name in ("image_features", "text_features", "unpaired_features", "keyword_features"):
        with torch.no_grad():
            inputs[name].copy_(inputs["image_features"][:1].expand_as(inputs[name]))
    return inputs


@pytest.mark.parametrize("keyword_targets", KEYWORD_TARGETS)
@pytest.mark.parametrize("pseudo_label", PSEUDO_LABELS)
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_degenerate_inputs_stay_finite(pseudo_label, keyword_targets, scale):
    options = {"pseudo_label": pseudo_label, "keyword_targets": keyword_targets}
    for B, U, K in [(1, 5, 3), (5, 1, 3), (5, 4, 1), (1, 1, 1)]:
        for share in (0.0, 0.5, 1.0):
            assert_finite(make_inputs(B, U, K, scale=scale, dtype=torch.float32, share=share), **options)
    assert_finite({**equal_features(), "logit_scale": torch.tensor(scale, requires_grad=True)}, **options)


def test_no_candidate_anywhere_gives_a_keyword_loss_of_zero():
    terms = assert_finite(make_inputs(4, 5, 3, share=0.0))
    assert terms["keyword_loss"] == 0


@pytest.mark.parametrize("scale", [14.3, 100.0])
@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("pseudo_label", PSEUDO_LABELS)
def test_half_features_stay_finite_and_close(pseudo_label, dtype, scale):
    for scale_dtype in (torch.float32, dtype):
        inputs = make_inputs(5, 6, 4, D=32, dtype=dtype, scale=scale)
        inputs["logit_scale"] = torch.tensor(scale, dtype=scale_dtype, requires_grad=True)
        terms = assert_finite(inputs, pseudo_label=pseudo_label)
        # the same halves in float64: logits of size s carry s times the type's rounding
        wanted = SClipLoss(pseudo_label=pseudo_label)(
            **{k: v if v.dtype == torch.bool else v.detach().double() for k, v in inputs.items()}, output_dict=True
        )
        rounding = torch.finfo(dtype).eps * scale * 2
        if not pseudo_label.startswith("hard"):
            for name in ("contrastive_loss", "caption_loss"):
                assert abs(terms[name].item() - wanted[name].item()) <= rounding, name
    assert_finite(equal_features(dtype), pseudo_label=pseudo_label)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_autocast_stays_finite_and_close(dtype):
    inputs = make_inputs(5, 6, 4, D=32, dtype=torch.float32, scale=50.0)
    exact = SClipLoss()(**inputs)
    with torch.autocast("cpu", dtype=dtype):
        value = SClipLoss()(**inputs)
    assert value.dtype == torch.float32
    assert abs((value - exact).item()) <= torch.finfo(dtype).eps * 50 * 2


def test_the_plan_does_not_see_autocast():
    from sclip_plugin.loss.pseudo_labels import pseudo_labels

    inputs = make_inputs(5, 6, D=32, dtype=torch.float32, scale=100.0)
    arguments = ("ot-image", inputs["unpaired_features"], inputs["image_features"], inputs["logit_scale"])
    exact = pseudo_labels(*arguments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(pseudo_labels(*arguments), exact)


NAMES = ["image_features", "text_features", "logit_scale", "unpaired_features", "keyword_features"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pseudo_label", PSEUDO_LABELS)
def test_non_finite_features_are_not_hidden(pseudo_label, name, value):
    inputs = make_inputs(4, 5, 3, share=1.0)
    with torch.no_grad():
        inputs[name].view(-1)[0] = value
    assert not SClipLoss(pseudo_label=pseudo_label)(**inputs).isfinite()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pseudo_label": "ot"}, "pseudo_label.*'ot'"),
        ({"pseudo_label": None}, "pseudo_label.*None"),
        ({"keyword_targets": "cosine"}, "keyword_targets.*'cosine'"),
        ({"sinkhorn_iterations": -1}, "sinkhorn_iterations.*-1"),
        ({"sinkhorn_iterations": 1.5}, r"sinkhorn_iterations.*1\.5"),
        ({"sinkhorn_iterations": True}, "sinkhorn_iterations.*True"),
        ({"epsilon": 0.0}, r"epsilon.*0\.0"),
        ({"epsilon": -1.0}, r"epsilon.*-1\.0"),
        ({"epsilon": float("nan")}, "epsilon.*nan"),
        ({"epsilon": float("inf")}, "epsilon.*inf"),
        ({"caption_weight": -0.1}, r"caption_weight.*-0\.1"),
        ({"caption_weight": float("nan")}, "caption_weight.*nan"),
        ({"keyword_weight": -2}, "keyword_weight.*-2"),
        ({"keyword_weight": float("inf")}, "keyword_weight.*inf"),
        ({"world_size": 2, "detach_targets": False}, "detach_targets.*world_size.*2"),
    ],
    ids=str,
)
def test_constructor_names_argument_and_value(options, message):
    with pytest.raises(ValueError, match=message):
        SClipLoss(**options)


@pytest.mark.parametrize("pseudo_label", PSEUDO_LABELS[2:])
def test_epsilon_is_refused_where_no_transport_is(pseudo_label):
    with pytest.raises(ValueError, match=rf"epsilon.*0\.1.*pseudo_label.*{pseudo_label}"):
        SClipLoss(pseudo_label=pseudo_label, epsilon=0.1)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("text_features", (3, 8)),
        ("text_features", (4, 7)),
        ("image_features", (8,)),
        ("unpaired_features", (5, 7)),
        ("unpaired_features", (8,)),
        ("unpaired_features", (0, 8)),
        ("keyword_features", (4, 8)),
        ("keyword_features", (3, 7)),
        ("keyword_features", (0, 8)),
        ("keyword_candidates", (3, 3)),
        ("keyword_candidates", (4,)),
        ("keyword_candidates", (4, 0)),
    ],
    ids=str,
)
def test_wrong_shapes_name_themselves(name, shape):
    inputs = make_inputs(4, 5, 3)
    inputs[name] = torch.zeros(shape, dtype=inputs[name].dtype)
    with pytest.raises(ValueError, match=name):
        SClipLoss()(**inputs)


@pytest.mark.parametrize("name", ["keyword_features", "keyword_candidates"])
def test_half_of_the_keyword_inputs_is_refused(name):
    inputs = make_inputs(4, 5, 3)
    del inputs[name]
    with pytest.raises(ValueError, match=name):
        SClipLoss()(**inputs)


def test_candidates_must_be_bool():
    inputs = make_inputs(4, 5, 3)
    inputs["keyword_candidates"] = inputs["keyword_candidates"].float()
    with pytest.raises(ValueError, match=r"keyword_candidates.*float32"):
        SClipLoss()(**inputs)


@pytest.mark.parametrize("pseudo_label", PSEUDO_LABELS)
def test_no_gradient_reaches_the_support_through_the_targets(pseudo_label):
    """The paired images enter caption and keyword terms only through the targets: their gradient there is zero."""
    inputs = make_inputs(4, 5, 3, share=0.9)
    terms = SClipLoss(pseudo_label=pseudo_label)(**inputs, output_dict=True)
    grads = gradients(terms["caption_loss"] + terms["keyword_loss"], inputs)
    assert not grads["image_features"].any()
    assert all(grads[name].any() for name in ("logit_scale", "unpaired_features", "keyword_features"))
    caption_only = gradients(terms["caption_loss"], inputs)["text_features"].abs().max()
    if pseudo_label == "soft-text":  # its target is its own prediction, so that as a constant it pulls nowhere
        assert caption_only < 1e-12
    else:
        assert caption_only > 1e-3
    keyword_only = gradients(terms["keyword_loss"], inputs)
    assert not keyword_only["text_features"].any()


@pytest.mark.parametrize("copies", [2, 3])
def test_keywords_arriving_once_per_micro_batch_count_once(copies):
    """`--accum-freq A` concatenates the keyword features of A micro-batches: same value, gradient 1/A in each copy."""
    inputs = make_inputs(6, 4, 3)
    once = SClipLoss()(**inputs, output_dict=True)
    expected = gradients(sum(once.values()), inputs)
    parts = [inputs["keyword_features"].detach().clone().requires_grad_() for _ in range(copies)]
    several = SClipLoss()(**{**inputs, "keyword_features": torch.cat(parts)}, output_dict=True)
    for name, value in once.items():
        torch.testing.assert_close(several[name], value, rtol=1e-12, atol=1e-12)
    for grad in torch.autograd.grad(sum(several.values()), parts):
        torch.testing.assert_close(grad * copies, expected["keyword_features"], rtol=1e-9, atol=1e-12)


def test_micro_batches_as_stock_accumulates_them_give_one_large_batch():
    """Stock's loop: one backward per micro-batch, the others' features cached without gradient."""
    inputs = make_inputs(6, 4, 3)
    leaves = as_reference(inputs)
    expected = gradients(sum(reference_loss(**leaves).values()), leaves)
    features = {k: v for k, v in inputs.items() if k.endswith("_features") and k != "keyword_features"}
    for part in range(2):
        passed = {
            name: torch.cat([half if i == part else half.detach() for i, half in enumerate(tensor.chunk(2))])
            for name, tensor in features.items()
        }
        keywords = inputs["keyword_features"]
        passed["keyword_features"] = torch.cat([keywords if i == part else keywords.detach() for i in range(2)])
        rest = {name: inputs[name] for name in ("logit_scale", "keyword_candidates")}
        SClipLoss()(**passed, **rest).backward()
    for (name, tensor), wanted in zip(((n, inputs[n]) for n in NAMES), (expected[n] for n in expected)):
        grad = tensor.grad / 2 if name == "logit_scale" else tensor.grad  # the loss is run twice; the model side halves
        assert difference(grad, wanted) <= 1e-9, name


@pytest.mark.parametrize("keyword_targets", KEYWORD_TARGETS)
@pytest.mark.parametrize("pseudo_label", PSEUDO_LABELS)
def test_nothing_is_read_back_to_the_host(pseudo_label, keyword_targets):
    """Fake tensors hold no data: any `.item()`, `nonzero`, data-dependent branch or shape raises on them."""
    with FakeTensorMode():
        inputs = {
            name: torch.empty(shape, requires_grad=True)
            for name, shape in zip(NAMES, [(4, 8), (4, 8), (), (5, 8), (6, 8)])
        }
        candidates = torch.empty(4, 3, dtype=torch.bool)
        with pytest.raises(DataDependentOutputException):
            bool(inputs["logit_scale"] > 0)  # the mode does catch it
        loss = SClipLoss(pseudo_label=pseudo_label, keyword_targets=keyword_targets)
        loss(**inputs, keyword_candidates=candidates).backward()
        assert all(tensor.grad is not None for tensor in inputs.values())


@pytest.mark.parametrize("pseudo_label", ["ot-image", "soft-text", "hard-text"])
def test_compiles_as_one_graph(pseudo_label):
    inputs = make_inputs(4, 5, 3, dtype=torch.float32)
    loss = SClipLoss(pseudo_label=pseudo_label)
    torch.compiler.reset()
    compiled = torch.compile(SClipLoss(pseudo_label=pseudo_label), fullgraph=True, backend="eager")
    actual, expected = compiled(**inputs), loss(**inputs)
    torch.testing.assert_close(actual, expected)
    for one, other in zip(gradients(actual, inputs).values(), gradients(expected, inputs).values()):
        torch.testing.assert_close(one, other)
