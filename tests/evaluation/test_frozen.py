"""Nearest neighbours and the linear probe against plain transcriptions, and which images they learn from."""

import math
import os
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from sclip_plugin.errors import DataError
from sclip_plugin.evaluation import knn, labelled, linear_probe
from sclip_plugin.evaluation.bootstrap import replicates
from sclip_plugin.evaluation.evaluate import EvaluationOptions, NamedSet, check_sets, evaluate_model
from sclip_plugin.evaluation.frozen import evaluate_frozen
from sclip_plugin.evaluation.labelled import Labelled, Splits, few_of_each, trials
from sclip_plugin.evaluation.models import load_model
from sclip_plugin.evaluation.names import KNN, LINEAR_PROBE
from tests.evaluation.sets import CLASSES, classification_set, model_with_weights, retrieval_set


def clusters(seed, each=(12, 9, 5), width=8, noise=0.6):
    """Features around a direction for each class, in random order."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(len(each), width, generator=torch.Generator().manual_seed(99))
    labels = torch.cat([torch.full((number,), label) for label, number in enumerate(each)])
    labels = labels[torch.randperm(len(labels), generator=generator)]
    noisy = centres[labels] + noise * torch.randn(len(labels), width, generator=generator)
    return Labelled(F.normalize(noisy, dim=-1), labels)


def slow_votes(known, query, classes, neighbours):
    """Wu et al.: each of the nearest votes for its class with exp(cosine / temperature)."""
    scored = sorted(
        ((float(query @ feature), int(label)) for feature, label in zip(known.features, known.labels)), reverse=True
    )
    votes = [0.0] * classes
    for cosine, label in scored[:neighbours]:
        votes[label] += math.exp(cosine / 0.07)
    return votes


@pytest.mark.parametrize("neighbours", [1, 5, 20, 100])
def test_votes_equal_transcription(neighbours, monkeypatch):
    monkeypatch.setattr(knn, "MAX_SCORES", 60)  # several chunks
    known, asked = clusters(0), clusters(1)
    found = knn.vote(known, asked.features, 4, neighbours=neighbours)
    assert found.shape == (26, 4)
    for row, query in zip(found.tolist(), asked.features):
        assert row == pytest.approx(slow_votes(known, query, 4, neighbours), rel=1e-4)


def slow_probe(learnt, classes, decay):
    """CLIP_benchmark's training loop: samples collated one by one, its schedule, its seed."""
    torch.manual_seed(0)
    probe = torch.nn.Linear(learnt.features.shape[1], classes)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=0.1, weight_decay=decay)
    loader = DataLoader(TensorDataset(learnt.features, learnt.labels), batch_size=64, shuffle=True)
    for epoch in range(10):
        for i, (features, labels) in enumerate(loader):
            step = i + epoch * len(loader)
            optimizer.param_groups[0]["lr"] = 0.5 * (1 + np.cos(np.pi * step / (10 * len(loader)))) * 0.1
            optimizer.zero_grad()
            F.cross_entropy(probe(features), labels).backward()
            optimizer.step()
    return probe


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_the_probe_is_the_one_that_clip_benchmark_trains(decay):
    learnt = clusters(2, each=(60, 50, 40))
    torch.manual_seed(5)
    found = linear_probe.fit(learnt, 3, decay)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1)), "the random state of the caller stays"
    expected = slow_probe(learnt, 3, decay)
    torch.testing.assert_close(found.weight, expected.weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.bias, expected.bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("peak", [0, 3, 50, 77, 96])
def test_the_search_of_the_weight_decay_finds_a_single_peak(peak):
    tried = []

    def accuracy(decay):
        tried.append(decay)
        return -abs(math.log10(decay) - math.log10(linear_probe.DECAYS[peak]))

    assert linear_probe.best_decay(accuracy) == linear_probe.DECAYS[peak]
    assert len(tried) == len(set(tried)) <= 15
    assert linear_probe.DECAYS[0] == 1e-6
    assert linear_probe.DECAYS[-1] == pytest.approx(100)


def test_with_a_validation_split_the_decay_is_chosen_and_its_images_are_learnt_too(monkeypatch):
    sizes = []
    original = linear_probe.fit
    monkeypatch.setattr(linear_probe, "fit", lambda learnt, *rest: sizes.append(len(learnt)) or original(learnt, *rest))
    learnt, val = clusters(3), clusters(4)
    _, decay = linear_probe.train(learnt, val, 3, few=False)
    assert decay in linear_probe.DECAYS
    assert sizes[-1] == len(learnt) + len(val)
    linear_probe.train(learnt, val, 3, few=True)
    assert sizes[-1] == len(learnt)
    assert linear_probe.train(learnt, None, 3, few=False)[1] == 0.0


def splits(train=None, val=None, seed=0):
    return Splits(clusters(seed, noise=1.0), train, val, 4, Counter({"images": 26}))


def test_every_image_is_asked_once_by_what_is_learnt_from_the_others():
    found = trials(splits(), None, Counter())
    asked = torch.cat([trial.asked for trial in found])
    assert len(found) == labelled.FOLDS
    assert sorted(asked.tolist()) == list(range(26))
    everything = splits().test.features
    for trial in found:
        assert len(trial.learnt) == 26 - len(trial.asked)
        known = {tuple(row.tolist()) for row in trial.learnt.features}
        assert not known & {tuple(row.tolist()) for row in everything[trial.asked]}
        assert trial.learnt.labels.unique().tolist() == [0, 1, 2], "folds are stratified"


def test_few_of_each_class_are_drawn_at_random():
    pool = clusters(5)
    first, other = few_of_each(pool, 4, 0), few_of_each(pool, 4, 1)
    assert torch.bincount(first.labels).tolist() == [4, 4, 4]
    assert not torch.equal(first.features, other.features)
    assert torch.equal(first.features, few_of_each(pool, 4, 0).features)


def test_classes_with_too_few_images_give_all_and_are_counted(caplog):
    counts = Counter()
    found = trials(splits(train=clusters(6)), 7, counts)
    assert len(found) == labelled.DRAWS
    assert all(torch.bincount(trial.learnt.labels).tolist() == [7, 7, 5] for trial in found)
    assert counts == {"classes with fewer than 7 images": 1}
    assert "1 classes have fewer than 7 images to learn from" in caplog.text


@pytest.mark.parametrize("kind", [KNN, LINEAR_PROBE])
@pytest.mark.parametrize("with_train", [False, True])
def test_easy_classes_are_learnt_from_all_images_and_from_one_each(kind, with_train):
    data = splits(train=clusters(7, noise=1.0) if with_train else None)
    ranks, settings, counts = {}, {}, Counter()
    every = evaluate_frozen(data, kind, counts=counts, ranks=ranks, settings=settings)
    assert every["acc1"] > 0.6
    assert ranks["class"].shape == (26,)
    assert (ranks["class"] == 0).mean() == pytest.approx(every["acc1"])
    assert settings["fewshot_k"] == -1
    assert counts["images"] == 26
    few = {}
    one = evaluate_frozen(data, kind, 1, ranks=few)
    assert one["acc1"] > 0.5
    assert few["class"].shape == ((labelled.DRAWS, 26) if with_train else (26,))
    drawn = replicates(few, 40)
    assert drawn["acc1"].mean() == pytest.approx(one["acc1"], abs=0.08)
    assert drawn["acc1"].std() > 0


def test_features_that_are_not_finite_are_not_hidden():
    data = splits(train=clusters(8))
    data.train.features[0] = math.nan
    for kind in (KNN, LINEAR_PROBE):
        assert all(math.isnan(value) for value in evaluate_frozen(data, kind).values())


def test_one_image_leaves_nothing_to_learn_from():
    one = Splits(clusters(0).part(torch.tensor([0])), None, None, 3, Counter())
    with pytest.raises(DataError, match="without a train split: cross-validation needs at least 2 images"):
        evaluate_frozen(one, KNN)


# --- on disk ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load_model(model_with_weights(tmp_path_factory.mktemp("model")), None, "cpu", "fp32")


def with_train(folder, classes=CLASSES):
    """A set whose `train/` is a link to the images of another set."""
    classification_set(folder)
    other = classification_set(folder.parent / "other", images=12, shards=1, classes=classes)
    os.symlink(other / "test", folder / "train", target_is_directory=True)
    return folder


def test_the_train_split_is_learnt_from_and_both_kinds_share_the_features(loaded, tmp_path, monkeypatch):
    folder = str(with_train(tmp_path / "set"))
    passes = []
    original = labelled.image_batches
    monkeypatch.setattr(labelled, "image_batches", lambda *a: passes.append(a[1].set.shards[0]) or original(*a))
    sets = [NamedSet(KNN, "s", folder), NamedSet(LINEAR_PROBE, "s", folder), NamedSet(KNN, "s", folder, 1)]
    check_sets(sets)
    found = evaluate_model(*loaded, sets, EvaluationOptions("cpu", bootstrap=10))
    assert len(passes) == 2
    assert [list(one.metrics) for one in found] == [
        ["knn_acc1", "knn_acc5", "knn_mean_per_class_recall"],
        ["lp_acc1", "lp_acc5", "lp_mean_per_class_recall"],
        ["knn_acc1", "knn_acc5", "knn_mean_per_class_recall"],
    ]
    assert found[0].counts == {"images": 8, "train images": 12, "learnt from": 12}
    assert [one.set.place for one in found] == ["s/knn", "s/linear-probe", "s/knn-1"]
    record = found[2].record()
    assert record["settings"] | {"fewshot_k": 1, "draws": 5, "learnt_from": "train"} == record["settings"]
    assert set(record["intervals"]) == set(record["metrics"])


def test_a_link_to_images_of_other_classes_is_refused(tmp_path):
    folder = with_train(tmp_path / "set", classes=("river", "tree", "parking lot"))
    with pytest.raises(DataError, match="train: a link into .*other, which has other classes"):
        check_sets([NamedSet(KNN, "s", str(folder))])


def test_a_retrieval_set_has_no_classes(tmp_path):
    with pytest.raises(DataError, match="makes it a retrieval set, not one for classification"):
        check_sets([NamedSet(LINEAR_PROBE, "s", str(retrieval_set(tmp_path / "r")))])
