"""Figures against plain computations, when they are taken, the signs they give, and the panel's cards."""

import math
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sclip_plugin import SClipLoss, Vocabulary
from sclip_plugin.diagnostics.measures import keyword_measures, label_measures
from sclip_plugin.diagnostics.recorder import Recorder
from sclip_plugin.diagnostics.signs import PATIENCE, Signs


def random_plan(rows=7, columns=5, seed=0):
    return torch.softmax(3 * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)), dim=1)


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
        plan=random_plan(), candidates=None, losses={"contrastive_loss": torch.tensor(1.0, requires_grad=True)}
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


def after(signs, values, times=PATIENCE, pairs=10, images=10):
    return [warning for _ in range(times) for warning in signs.after_step(values, pairs, images)]


@pytest.mark.parametrize(
    ("choice", "values", "message"),
    [
        ("soft-image", {"captions_used": 0.12}, "as if 1.2 served all unpaired images; try --sclip-pseudo-label ot-im"),
        ("ot-image", {"captions_used": 0.12}, "collapse onto few captions.*try more --sclip-sinkhorn-iterations"),
        ("ot-image", {"effective_captions": 9.8}, "nearly uniform.*9.8 of 10 captions.*try a smaller --sclip-epsilon"),
        ("ot-image", {"without_candidates": 0.7}, "70% of the unpaired images have no candidate keyword.*--keywords"),
        ("ot-image", {"commonest_keyword": 0.6, "commonest_index": 1.0}, "'outline' is a candidate of 60%.*--keywords"),
    ],
)
def test_signs_name_what_is_seen_and_the_flag(choice, values, message):
    signs = Signs(choice, ["red", "outline"], "words.txt")
    assert after(signs, values, PATIENCE - 1) == []
    warnings = after(signs, values, 20)
    assert len(warnings) == 1  # once
    import re

    assert re.search(message, warnings[0])


def test_healthy_figures_give_no_sign():
    values = {"captions_used": 0.9, "effective_captions": 3.0, "without_candidates": 0.1, "commonest_keyword": 0.2}
    assert after(Signs("ot-image", ["a"], "f"), {**values, "commonest_index": 0.0}, 50) == []


def test_few_images_do_not_count_as_collapse():
    values = {"captions_used": 0.2}
    assert after(Signs("hard-image"), values, 20, pairs=40, images=10) == []  # 8 of 10 reachable captions
    assert after(Signs("hard-image"), values, 20, pairs=4, images=4) == []
    assert len(after(Signs("hard-image"), values, 20, pairs=40, images=40)) == 1


def run_epochs(losses):
    signs, said = Signs("ot-image"), []
    for epoch, (training, validation) in enumerate(losses, 1):
        signs.after_step({"contrastive_loss": training}, 10, 10)
        said += signs.after_validation(epoch, validation)
    return said


def test_rising_validation_loss_while_training_loss_falls():
    said = run_epochs([(3, 2.0), (2, 1.5), (1.5, 1.7), (1, 1.9), (0.5, 2.5)])
    assert len(said) == 1
    assert "rises (1.5 after epoch 2, 1.9 after 4) while the training loss falls (2 to 1)" in said[0]
    assert "best after epoch 2" in said[0]
    assert "--epochs" in said[0]
    assert run_epochs([(3, 2.0), (2, 1.5), (1.5, 1.7), (1, 1.4), (0.5, 1.6)]) == []  # up and down
    assert run_epochs([(1, 2.0), (2, 2.5), (3, 3.0)]) == []  # training gets worse too: not this sign
    assert run_epochs([(3, None), (2, None)]) == []
    between = run_epochs([(3, 1.5), (4, None), (1, 1.6), (0.5, 1.7)])
    assert "training loss falls (3 to 0.5)" in between[0]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    from sclip_plugin.evaluation.features import Encoder
    from sclip_plugin.evaluation.models import load_model
    from tests.evaluation.sets import model_with_weights

    model, preprocess, tokenizer = load_model(model_with_weights(tmp_path_factory.mktemp("model")), None, "cpu", "fp32")
    return Encoder(model, tokenizer), preprocess


def test_cards_show_the_heaviest_captions_and_keywords(encoder, shards):
    from sclip_plugin.data.shard_list import expand
    from sclip_plugin.inspection import panel
    from sclip_plugin.inspection.labels import Rule, label_images
    from sclip_plugin.inspection.pictures import read_pictures
    from sclip_plugin.loss.pseudo_labels import pseudo_labels

    coder, preprocess = encoder
    pairs = read_pictures(expand(str(shards / "paired"), "--train-data"), 12, paired=True)
    unpaired = read_pictures(expand(str(shards / "unpaired"), "--unpaired-data"), 9, paired=False)
    assert (len(pairs), len(unpaired)) == (12, 9)
    assert pairs[0].captions[0] == "a red tree number 0"
    words = Vocabulary(["tree", "river", "park", "zebra"])
    coder.model.train()
    for choice in ("ot-image", "hard-text", "soft-image"):
        cards, figures = label_images(coder, preprocess, pairs, unpaired, words, Rule(choice, iterations=4), shown=3)
        assert [card.picture for card in cards] == [unpaired[0], unpaired[4], unpaired[8]]
        coder.model.eval()
        queries, images = (coder.images(torch.stack([preprocess(p.open()) for p in ps])) for ps in (unpaired, pairs))
        texts = coder.texts([pair.captions[0] for pair in pairs])
        support = texts if choice.endswith("text") else images
        plan = pseudo_labels(choice, queries, support, coder.model.logit_scale.exp(), iterations=4)
        coder.model.train()
        for card, row in zip(cards, (0, 4, 8)):
            order = sorted(range(12), key=lambda j: -plan[row, j])
            for (text, weight), j in zip(card.captions, order):
                assert (text, weight) == (pairs[j].captions[0], pytest.approx(plan[row, j].item(), rel=1e-4))
            nearest = pairs[order[0]].captions[0]
            assert {word for word, _ in card.keywords} == {w for w in words if w in nearest.split()}
        assert figures["label_entropy"] == pytest.approx(label_measures(plan)["label_entropy"].item(), abs=1e-4)
    assert coder.model.training  # as it was
    page = panel.page(cards, "a < b", figures)
    assert page.count("<img ") == 3
    assert "a &lt; b" in page
    bare, _ = label_images(coder, preprocess, pairs, unpaired, shown=1)
    assert bare[0].keywords is None
    assert "keyword" not in panel.page(bare, "t", {})
    nothing, _ = label_images(coder, preprocess, pairs, unpaired, Vocabulary(["zebra"]), shown=1)
    assert nothing[0].keywords == []
    assert "no candidate keyword" in panel.page(nothing, "t", {})
    picture = panel.pixels(panel.draw(cards, "costs $5", figures))
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert picture.std() > 10


def test_unusable_samples_are_passed_over_and_an_empty_set_is_named(tmp_path):
    from sclip_plugin.data.shard_list import expand
    from sclip_plugin.errors import DataError
    from sclip_plugin.inspection.pictures import read_pictures
    from tests.helpers.shards import picture, write_tar

    members = [("a.png", picture(1)[:50]), ("b.txt", b"no image"), ("c.png", picture(2)), ("c.txt", b"a tree")]
    write_tar(tmp_path / "0.tar", members)
    assert len(read_pictures(expand(str(tmp_path), "--x"), 5, paired=False)) == 1
    write_tar(tmp_path / "0.tar", members[:2])
    with pytest.raises(DataError, match="--x: no usable sample in 1 shards; found 1 × undecodable image, 1 × no image"):
        read_pictures(expand(str(tmp_path), "--x"), 5, paired=False)


def test_inspect_command(encoder, shards, tmp_path, capsys):
    from sclip_plugin import cli
    from tests.evaluation.sets import model_with_weights

    name = model_with_weights(tmp_path / "model")
    words = ["--train-data", str(shards / "paired"), "--unpaired-data", str(shards / "unpaired"), "--device", "cpu"]
    common = ["inspect", "--model", name, *words, "--keywords", str(shards / "keywords.txt"), "--pairs", "16"]
    for suffix in ("png", "html"):
        assert cli.main([*common, "--out", str(tmp_path / f"panel.{suffix}")]) == 0
    assert (tmp_path / "panel.png").read_bytes().startswith(b"\x89PNG")
    assert "images without candidate keyword" in capsys.readouterr().out
    assert cli.main([*common, "--out", str(tmp_path / "panel.gif")]) == 2
    assert cli.main([*common, "--out", "x.png", "--images", "0"]) == 2
    assert cli.main([*common, "--out", "x.png", "--keyword-template", "a"]) == 2
    errors = capsys.readouterr().err
    for message in ("must end in .png or .html", "--images must be at least 1, got 0", "must hold {} once, got 'a'"):
        assert message in errors
