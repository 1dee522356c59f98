"""Labels that are known beforehand: half types, autocast, refusals, live captions, and no read-back to the host."""

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from sclip_plugin import SClipLoss
from tests.loss.cases import make_inputs, unit

SETTINGS = {"candidates": "plan", "pair_keyword_weight": 0.1}


def labelled(dtype=torch.float32, N=9):
    """(inputs of 5 pairs, 6 unpaired images and 4 keywords, captions of N pairs, their keywords)."""
    generator = torch.Generator().manual_seed(4)
    inputs = make_inputs(5, 6, 4, D=16, dtype=dtype)
    inputs["pair_rows"] = torch.tensor([7, 0, 3, 8, 2])
    inputs["unpaired_nearest"] = torch.stack([torch.randperm(N, generator=generator)[:3] for _ in range(6)])
    inputs["unpaired_weights"] = torch.softmax(torch.randn(6, 3, generator=generator), dim=1)
    captions = unit(N, 16, generator=generator, dtype=torch.float32).detach()
    return inputs, captions, torch.rand(N, 4, generator=generator) < 0.5


def terms_of(inputs, captions, candidates, **settings):
    loss = SClipLoss(**{**SETTINGS, **settings})
    loss.remember(captions, candidates)
    return loss, loss(**inputs, output_dict=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_features_are_close(dtype):
    inputs, *memory = labelled(dtype)
    _, terms = terms_of(inputs, *memory)
    wide = {name: one.detach().float() if one.is_floating_point() else one for name, one in inputs.items()}
    _, wanted = terms_of(wide, *memory)
    assert set(terms) == {"contrastive_loss", "caption_loss", "keyword_loss", "pair_keyword_loss"}
    for name, value in terms.items():
        assert value.item() == pytest.approx(wanted[name].item(), abs=torch.finfo(dtype).eps * 9 * 2), name
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(sum(terms.values()), inputs["unpaired_features"]))


def test_autocast_stays_close():
    inputs, *memory = labelled()
    _, wanted = terms_of(inputs, *memory)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, terms = terms_of(inputs, *memory)
    for name, value in terms.items():
        assert value.item() == pytest.approx(wanted[name].item(), rel=0.05, abs=0.05), name


def test_the_captions_of_the_batch_are_live_and_then_remembered():
    inputs, captions, candidates = labelled()
    loss, terms = terms_of(inputs, captions, candidates, caption_weight=1.0)
    (grad,) = torch.autograd.grad(terms["caption_loss"], inputs["text_features"], retain_graph=True)
    assert (grad.abs().sum(dim=1) > 0).all()
    rest = torch.ones(9, dtype=torch.bool)
    rest[inputs["pair_rows"]] = False
    assert torch.equal(loss._captions[rest], captions[rest])
    assert torch.equal(loss._captions[inputs["pair_rows"]], inputs["text_features"].detach())
    assert not loss._captions.requires_grad
    again = loss(**inputs, output_dict=True)  # the same pairs change nothing
    assert again["caption_loss"] == terms["caption_loss"]


def test_what_is_not_trusted_teaches_nothing():
    inputs, *memory = labelled()
    inputs["unpaired_weights"] = torch.zeros(6, 3)
    _, terms = terms_of(inputs, *memory)
    assert terms["caption_loss"] == terms["keyword_loss"] == 0


def test_without_keywords_of_the_pairs_there_is_no_keyword_level():
    inputs, captions, _ = labelled()
    _, terms = terms_of(inputs, captions, None)
    assert set(terms) == {"contrastive_loss", "caption_loss", "pair_keyword_loss"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pair_rows": None}, "pair_rows, unpaired_nearest and unpaired_weights go together"),
        ({"unpaired_weights": torch.ones(6, 2)}, r"must be \(U = 6, k\), got shapes \(6, 3\) and \(6, 2\)"),
        ({"unpaired_nearest": torch.ones(5, 3).long()}, r"must be \(U = 6, k\), got shapes \(5, 3\) and \(6, 3\)"),
    ],
)
def test_labels_that_do_not_fit_name_themselves(change, message):
    inputs, *memory = labelled()
    with pytest.raises(ValueError, match=message):
        terms_of({**inputs, **change}, *memory)


def test_captions_come_first_and_must_fit():
    inputs, captions, candidates = labelled()
    with pytest.raises(ValueError, match=r"needs the captions of all pairs: call remember\(captions\) first"):
        SClipLoss()(**inputs)
    with pytest.raises(ValueError, match=r"captions must be an \(N, D\) matrix with rows, got shape \(9,\)"):
        SClipLoss().remember(captions[:, 0])
    with pytest.raises(ValueError, match=r"candidates must be bool \(N = 9, K\), got torch.bool \(8, 4\)"):
        SClipLoss().remember(captions, candidates[:8])
    with pytest.raises(ValueError, match="candidates must be one of nearest, plan, got 'all'"):
        SClipLoss(candidates="all")
    with pytest.raises(ValueError, match="keyword_targets='uniform' has no effect with candidates='plan'"):
        SClipLoss(candidates="plan", keyword_targets="uniform")


@pytest.mark.parametrize("candidates", ["nearest", "plan"])
def test_nothing_is_read_back_to_the_host(candidates):
    """Fake tensors have no values, so that whoever asks for one fails."""
    inputs, captions, keywords = labelled()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = {name: mode.from_tensor(one) for name, one in inputs.items()}
        with pytest.raises(DataDependentOutputException):
            bool(fake["logit_scale"] > 0)  # the mode does catch it
        loss = SClipLoss(candidates=candidates, pair_keyword_weight=0.1)
        loss.remember(mode.from_tensor(captions), mode.from_tensor(keywords))
        terms = loss(**fake, output_dict=True)
        sum(terms.values()).backward()
    assert set(terms) == {"contrastive_loss", "caption_loss", "keyword_loss", "pair_keyword_loss"}
    assert all(one.grad is not None for name, one in fake.items() if name.endswith("features"))
