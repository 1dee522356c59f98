"""SClipLoss against the slow transcription of METHOD.md: values and the gradient of every input."""

import itertools

import pytest
import torch
from open_clip.loss import ClipLoss

from sclip_plugin import SClipLoss
from tests.loss.cases import as_reference, difference, gradients, make_inputs
from tests.loss.reference import KEYWORD_TARGETS, PSEUDO_LABELS, Settings, reference_loss

SIZES = [(5, 7, 4), (6, 3, 9), (1, 5, 3), (4, 1, 2), (5, 4, 1), (1, 1, 1), (4, 4, None), (1, 3, None), (3, 1, None)]
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


def build(settings, **more):
    return SClipLoss(**vars(settings), **more)


def compare(inputs, settings, tolerance):
    """Assert that values and gradients of SClipLoss and of the transcription agree."""
    ours = build(settings)(**inputs, output_dict=True)
    leaves = as_reference(inputs)
    wanted = reference_loss(**leaves, settings=settings)
    assert set(ours) == set(wanted)
    for name, value in wanted.items():
        assert ours[name].shape == ()
        assert difference(ours[name], value) <= tolerance, name
    got = gradients(sum(ours.values()), inputs)
    for (name, actual), expected in zip(got.items(), gradients(sum(wanted.values()), leaves).values()):
        assert difference(actual, expected) <= tolerance, name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("pseudo_label", PSEUDO_LABELS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_the_transcription(size, pseudo_label, dtype):
    B, U, K = size
    for seed, keyword_targets in enumerate(KEYWORD_TARGETS if K else KEYWORD_TARGETS[:1]):
        settings = Settings(pseudo_label=pseudo_label, keyword_targets=keyword_targets)
        inputs = make_inputs(B, U, K, seed=seed, dtype=dtype)
        if K and U == 1:  # one image's plan is uniform: every pair is nearest, so every pair gets the same candidates
            inputs["keyword_candidates"] = inputs["keyword_candidates"][:1].expand(B, K)
        compare(inputs, settings, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("pseudo_label", ["ot-image", "ot-text"])
def test_options_equal_the_transcription(pseudo_label, dtype):
    for seed, (iterations, epsilon) in enumerate(itertools.product((0, 1, 25), (None, 0.03, 0.7))):
        settings = Settings(
            pseudo_label, iterations, epsilon, caption_weight=1.7, keyword_weight=0.2, keyword_targets="softmax"
        )
        compare(make_inputs(4, 6, 5, seed=seed, dtype=dtype), settings, TOLERANCE[dtype])


@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_scales_equal_the_transcription(scale):
    for pseudo_label in PSEUDO_LABELS:
        settings = Settings(pseudo_label, keyword_targets="softmax")
        compare(make_inputs(5, 6, 4, scale=scale, D=16), settings, 1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("unpaired", [True, False])
@pytest.mark.parametrize("size", [(5, 7, 4), (1, 3, 3), (6, 2, 1)], ids=str)
def test_keywords_on_pairs_equal_the_transcription(size, unpaired, dtype):
    B, U, K = size
    settings = Settings(pair_keyword_weight=0.8)
    for seed, share in enumerate((0.0, 0.4, 1.0)):
        inputs = make_inputs(B, U, K, seed=seed, dtype=dtype, share=share)
        if not unpaired:
            del inputs["unpaired_features"]
        compare(inputs, settings, TOLERANCE[dtype])


def test_keywords_on_pairs_leave_the_other_terms_as_they_are():
    inputs = make_inputs(5, 7, 4)
    without, beside = SClipLoss(), SClipLoss(pair_keyword_weight=1.0)
    plain, more = without(**inputs, output_dict=True), beside(**inputs, output_dict=True)
    assert set(more) == {*plain, "pair_keyword_loss"}
    for name, value in plain.items():
        assert torch.equal(more[name], value), name
    assert more["pair_keyword_loss"] > 0


def test_keywords_on_pairs_alone_are_clip_loss_and_one_term():
    inputs = make_inputs(5, 7, 4)
    del inputs["unpaired_features"]
    terms = SClipLoss(pair_keyword_weight=0.5)(**inputs, output_dict=True)
    assert list(terms) == ["contrastive_loss", "pair_keyword_loss"]
    plain = {name: inputs[name] for name in ("image_features", "text_features", "logit_scale")}
    assert torch.equal(terms["contrastive_loss"], ClipLoss()(**plain))
    assert list(SClipLoss()(**inputs, output_dict=True)) == ["contrastive_loss"]


def test_weights_scale_their_terms_and_zero_switches_off():
    inputs = make_inputs(4, 5, 3)
    one = SClipLoss(caption_weight=1.0, keyword_weight=1.0)(**inputs, output_dict=True)
    other = SClipLoss(caption_weight=0.25, keyword_weight=3.0)(**inputs, output_dict=True)
    torch.testing.assert_close(other["caption_loss"], 0.25 * one["caption_loss"])
    torch.testing.assert_close(other["keyword_loss"], 3.0 * one["keyword_loss"])
    torch.testing.assert_close(other["contrastive_loss"], one["contrastive_loss"])
    none = SClipLoss(caption_weight=0.0, keyword_weight=0.0)(**inputs)
    torch.testing.assert_close(none, one["contrastive_loss"])


def test_default_weights_are_one_half():
    inputs = make_inputs(4, 5, 3)
    explicit = SClipLoss(caption_weight=0.5, keyword_weight=0.5)(**inputs)
    torch.testing.assert_close(SClipLoss()(**inputs), explicit, rtol=0, atol=0)


def test_sum_is_the_sum_of_the_terms():
    inputs = make_inputs(4, 5, 3)
    loss = SClipLoss()
    terms = loss(**inputs, output_dict=True)
    assert list(terms) == ["contrastive_loss", "caption_loss", "keyword_loss"]
    torch.testing.assert_close(loss(**inputs), sum(terms.values()))
    del inputs["keyword_features"], inputs["keyword_candidates"]
    assert list(loss(**inputs, output_dict=True)) == ["contrastive_loss", "caption_loss"]


def test_each_pseudo_label_differs_from_the_others():
    inputs = make_inputs(6, 8, 5, seed=3)
    values = {}
    for pseudo_label in PSEUDO_LABELS:
        values[pseudo_label] = SClipLoss(pseudo_label=pseudo_label)(**inputs, output_dict=True)["caption_loss"].item()
    for one, other in itertools.combinations(PSEUDO_LABELS, 2):
        assert abs(values[one] - values[other]) > 1e-4, (one, other)


def test_each_keyword_target_differs_from_the_others():
    inputs = make_inputs(6, 8, 12, seed=3)
    values = [SClipLoss(keyword_targets=kind)(**inputs, output_dict=True)["keyword_loss"] for kind in KEYWORD_TARGETS]
    for one, other in itertools.combinations(values, 2):
        assert abs((one - other).item()) > 1e-4


def test_one_candidate_gets_weight_one_in_all_keyword_targets():
    inputs = make_inputs(4, 6, 4)
    inputs["keyword_candidates"] = torch.eye(4, dtype=torch.bool)
    values = [SClipLoss(keyword_targets=kind)(**inputs, output_dict=True)["keyword_loss"] for kind in KEYWORD_TARGETS]
    torch.testing.assert_close(values[1], values[0])
    torch.testing.assert_close(values[2], values[0])


def keyword_only(features, keywords, candidates, kind, scale=2.0):
    """Keyword loss (weight 1) of one unpaired image whose only pair has these candidates."""
    inputs = make_inputs(1, 1, D=len(features), scale=scale)
    inputs["unpaired_features"] = torch.tensor([features], dtype=torch.float64)
    inputs["keyword_features"] = torch.tensor(keywords, dtype=torch.float64)
    inputs["keyword_candidates"] = torch.tensor([candidates])
    loss = SClipLoss(keyword_weight=1.0, keyword_targets=kind)
    return loss(**inputs, output_dict=True)["keyword_loss"]


def test_similarity_targets_clamp_negative_cosines():
    keywords = [[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]]
    log_probability = torch.log_softmax(2.0 * torch.tensor([1.0, 0.6, -1.0], dtype=torch.float64), 0)
    value = keyword_only([1.0, 0.0], keywords, [True, True, True], "similarity")
    expected = -(1.0 * log_probability[0] + 0.6 * log_probability[1]) / 1.6
    torch.testing.assert_close(value, expected)


def test_similarity_targets_are_uniform_where_no_cosine_is_positive():
    keywords = [[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    log_probability = torch.log_softmax(2.0 * torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64), 0)
    value = keyword_only([1.0, 0.0], keywords, [True, True, False], "similarity")
    torch.testing.assert_close(value, -(log_probability[0] + log_probability[1]) / 2)


def test_image_without_candidates_adds_zero_but_counts_in_the_mean():
    inputs = make_inputs(2, 2, 3)
    inputs["unpaired_features"] = inputs["image_features"].detach().clone()
    inputs["keyword_candidates"] = torch.tensor([[True, False, True], [False, False, False]])
    loss = SClipLoss(pseudo_label="hard-image", keyword_weight=1.0, keyword_targets="uniform")
    value = loss(**inputs, output_dict=True)["keyword_loss"]
    first = 9.0 * inputs["unpaired_features"][0] @ inputs["keyword_features"].T
    log_probability = torch.log_softmax(first, 0)
    torch.testing.assert_close(value, -(log_probability[0] + log_probability[2]) / 2 / 2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("local_loss", [False, True])
@pytest.mark.parametrize("bias", [None, -10.0])
def test_without_unpaired_features_it_is_clip_loss(dtype, local_loss, bias):
    inputs = make_inputs(6, 1, dtype=dtype)
    del inputs["unpaired_features"]
    if bias is not None:
        inputs["logit_bias"] = torch.tensor(bias, dtype=dtype, requires_grad=True)
    ours, stock = SClipLoss(local_loss=local_loss), ClipLoss(local_loss=local_loss)
    actual, expected = ours(**inputs), stock(**inputs)
    assert torch.equal(actual, expected)
    assert set(ours(**inputs, output_dict=True)) == {"contrastive_loss"}
    for one, other in zip(gradients(actual, inputs).values(), gradients(expected, inputs).values()):
        assert torch.equal(one, other)


def test_is_a_clip_loss_with_its_constructor():
    loss = SClipLoss(False, False, True, 0, 1)
    assert isinstance(loss, ClipLoss)
    assert loss.cache_labels
    assert not list(loss.parameters())
    assert not loss.state_dict()


@pytest.mark.parametrize("local_loss", [False, True])
def test_logit_bias_and_local_loss_change_nothing_in_one_process(local_loss):
    inputs = make_inputs(4, 5, 3)
    plain = SClipLoss()(**inputs, output_dict=True)
    bias = torch.tensor(-10.0, dtype=torch.float64, requires_grad=True)
    biased = SClipLoss(local_loss=local_loss)(**inputs, logit_bias=bias, output_dict=True)
    for name in plain:
        torch.testing.assert_close(biased[name], plain[name], rtol=1e-9, atol=1e-9)
    (grad,) = torch.autograd.grad(sum(biased.values()), [bias], allow_unused=True)
    assert grad is None or grad.abs() < 1e-9  # softmax does not see a constant


def test_one_instance_serves_changing_batch_sizes():
    loss = SClipLoss()
    for B, U, K in [(4, 5, 3), (2, 6, 3), (4, 4, 3), (4, 5, 3)]:
        inputs = make_inputs(B, U, K, seed=B)
        wanted = sum(reference_loss(**as_reference(inputs)).values())
        assert difference(loss(**inputs), wanted) <= 1e-9


@pytest.mark.parametrize("epsilon", [None, 0.1])
@pytest.mark.parametrize("pseudo_label", PSEUDO_LABELS)
def test_gradient_through_the_plan_on_request(pseudo_label, epsilon):
    if epsilon is not None and not pseudo_label.startswith("ot"):
        pytest.skip("epsilon belongs to ot-*")
    settings = Settings(pseudo_label, sinkhorn_iterations=3, epsilon=epsilon, detach_targets=False)
    inputs = make_inputs(4, 5, seed=2)
    leaves = as_reference(inputs)
    actual = gradients(build(settings)(**inputs), inputs)
    expected = gradients(sum(reference_loss(**leaves, settings=settings).values()), leaves)
    if pseudo_label.startswith("ot") and epsilon is None:  # whether epsilon = 1/s carries gradient is left open
        del actual["logit_scale"], expected["s"]
    for (name, one), other in zip(actual.items(), expected.values()):
        assert difference(one, other) <= 1e-9, name
    plain = SClipLoss(pseudo_label=pseudo_label, sinkhorn_iterations=3, epsilon=epsilon)
    detached = gradients(plain(**inputs), inputs)
    gap = difference(actual["unpaired_features"], detached["unpaired_features"])
    assert gap <= 1e-9 if pseudo_label.startswith("hard") else gap > 1e-6


@pytest.mark.parametrize("keyword_targets", KEYWORD_TARGETS)
def test_keyword_weights_are_constants_even_where_the_plan_is_not(keyword_targets):
    """As in the authors' code: `detach_targets=False` opens the plan to gradient, not the keyword weights."""
    settings = Settings(sinkhorn_iterations=3, epsilon=0.1, keyword_targets=keyword_targets, detach_targets=False)
    inputs = make_inputs(4, 5, 6, seed=2, share=0.9)
    leaves = as_reference(inputs)
    actual = gradients(build(settings)(**inputs), inputs)
    expected = gradients(sum(reference_loss(**leaves, settings=settings).values()), leaves)
    for (name, one), other in zip(actual.items(), expected.values()):
        assert difference(one, other) <= 1e-9, name


def test_gradient_through_the_plan_is_for_one_process():
    with pytest.raises(ValueError, match=r"detach_targets.*world_size"):
        SClipLoss(rank=0, world_size=2, detach_targets=False)
