"""When the figures of a step are taken and where they go, and that taking them changes nothing."""

import types

import pytest
import torch
import torch.nn.functional as F

from sclip_plugin import SClipLoss
from sclip_plugin.diagnostics.measures import label_measures
from sclip_plugin.diagnostics.recorder import Recorder
from sclip_plugin.diagnostics.signs import Signs
from tests.diagnostics.plans import random_plan


def loss_inputs(pairs=6, unpaired=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = [F.normalize(torch.randn(n, 8, generator=generator), dim=1) for n in (pairs, pairs, unpaired, 3)]
    candidates = torch.rand(pairs, 3, generator=generator) > 0.5
    return (*features[:2], torch.tensor(10.0), None, features[2], features[3], candidates)


def recorder(every=3, steps=8, accum=1, **more):
    written = []
    made = Recorder(Signs("ot-image", "abc", "k.txt"), steps=steps, every=every, accum=accum, **more)
    made.start_epoch(2, [lambda values, step: written.append((step, values))])
    return made, written


def test_the_loss_is_measured_at_the_steps_that_are_logged():
    loss, (watch, written) = SClipLoss(), recorder()
    loss.observer = watch
    for step in range(8):
        loss(*loss_inputs(seed=step))
    assert [step for step, _ in written] == [16, 19, 22, 23]  # 0, 3, 6 and the last of epoch 2
    expected = SClipLoss()
    seen = []
    expected.observer = seen.append
    expected(*loss_inputs(seed=3))
    plan = seen[0].plan
    assert written[1][1]["label_entropy"] == pytest.approx(label_measures(plan)["label_entropy"].item())
    assert set(written[0][1]) >= {"effective_captions", "marginal_error", "without_candidates", "keyword_confidence"}
    assert not {"contrastive_loss", "commonest_index"} & set(written[0][1])


def test_accumulation_counts_optimizer_steps():
    watch, written = recorder(every=2, steps=3, accum=4)
    loss = SClipLoss()
    loss.observer = watch
    for call in range(12):
        loss(*loss_inputs(seed=call))
    assert [step for step, _ in written] == [6, 8]


class Untouchable:
    def __getattr__(self, name):
        raise AssertionError(f"{name} was looked at between logged steps")


def test_nothing_is_looked_at_between_logged_steps_or_on_other_ranks():
    watch, written = recorder(every=100, steps=50)
    seen = types.SimpleNamespace(
        trust=None,
        plan=random_plan(),
        candidates=None,
        losses={"contrastive_loss": torch.tensor(1.0, requires_grad=True)},
    )
    watch(seen)
    for _ in range(48):
        watch(Untouchable())
    watch(seen)
    assert [step for step, _ in written] == [100, 149]
    other, written = recorder(every=1, rank=1)
    other(Untouchable())
    assert written == []


def test_observing_changes_no_loss_and_no_gradient():
    values = []
    for observe in (False, True):
        inputs = [x.clone().requires_grad_() if x is not None and x.is_floating_point() else x for x in loss_inputs()]
        loss = SClipLoss()
        loss.observer = recorder(every=1)[0] if observe else None
        total = loss(*inputs)
        total.backward()
        values.append([total, *(x.grad for x in inputs if x is not None and x.is_floating_point())])
    assert all(torch.equal(a, b) for a, b in zip(*values))
