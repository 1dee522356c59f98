"""Measures against a plain transcription of CLIP_benchmark's formulas, ties and several captions included."""

import math

import pytest
import torch
import torch.nn.functional as F

from sclip_plugin.evaluation import metrics


def order(scores):
    """Columns of one row, best first, the earlier of two equal ones first."""
    return sorted(range(len(scores)), key=lambda j: (-scores[j], j))


def slow_recall(scores, positive, k):
    """CLIP_benchmark: recall of each row at k, counted as a hit where it is positive; then the mean."""
    hits = []
    for row, right in zip(scores, positive):
        found = sum(right[j] for j in order(row)[:k])
        hits.append(float(found / sum(right) > 0) if sum(right) else 0.0)
    return sum(hits) / len(hits)


def random_case(seed, images, texts, ties):
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(images, 6, generator=generator)
    second = torch.randn(texts, 6, generator=generator)
    if ties:  # few different rows: many exactly equal scores
        first, second = first[torch.arange(images) % 3], second[torch.arange(texts) % 2]
    owner = torch.randint(images, (texts,), generator=generator)
    return F.normalize(first, dim=-1), F.normalize(second, dim=-1), owner


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("images", "texts"), [(1, 1), (2, 5), (9, 30), (40, 40)])
def test_retrieval_equals_transcription(images, texts, ties):
    first, second, owner = random_case(images + texts, images, texts, ties)
    scores = second @ first.T
    positive = [[int(owner[m] == n) for n in range(images)] for m in range(texts)]
    found = metrics.retrieval_metrics(first, second, owner)
    transposed = (first @ second.T).tolist()
    for k in (1, 5, 10):
        assert found[f"image_retrieval_recall@{k}"] == pytest.approx(slow_recall(scores.tolist(), positive, k))
        assert found[f"text_retrieval_recall@{k}"] == pytest.approx(slow_recall(transposed, list(zip(*positive)), k))


def test_any_caption_of_an_image_is_right_in_text_retrieval():
    images = torch.eye(2)
    texts = F.normalize(torch.tensor([[0.1, 1.0], [1.0, 0.0], [0.0, 1.0]]), dim=-1)
    found = metrics.retrieval_metrics(images, texts, torch.tensor([0, 0, 1]), recall_ranks=(1,))
    assert found == {"image_retrieval_recall@1": pytest.approx(2 / 3), "text_retrieval_recall@1": 1.0}


def test_equal_features_score_what_chance_gives():
    same = F.normalize(torch.ones(20, 4), dim=-1)
    found = metrics.retrieval_metrics(same, same, torch.arange(20))
    assert found["image_retrieval_recall@1"] == pytest.approx(1 / 20)
    assert found["text_retrieval_recall@10"] == pytest.approx(10 / 20)


def test_chunks_change_nothing(monkeypatch):
    first, second, owner = random_case(3, 25, 60, ties=True)
    whole = metrics.retrieval_metrics(first, second, owner)
    sizes = []
    original = metrics.first_hit_ranks
    monkeypatch.setattr(metrics, "MAX_SCORES", 130)
    monkeypatch.setattr(metrics, "first_hit_ranks", lambda s, p: (sizes.append(s.numel()), original(s, p))[1])
    assert metrics.retrieval_metrics(first, second, owner) == whole
    assert max(sizes) <= 130


def test_right_columns_are_those_of_the_same_owner():
    queries, gallery = torch.tensor([2, 0, 5, 1]), torch.tensor([1, 2, 0, 2, 2, 1])
    assert metrics.right_columns(queries, gallery).tolist() == [
        [1, 3, 4],
        [2, -1, -1],
        [-1, -1, -1],
        [0, 5, -1],
    ]
    assert metrics.right_columns(queries, torch.tensor([9])).tolist() == [[-1]] * 4


def test_validation_loss_is_clips_over_batches_with_first_captions():
    images, texts, _ = random_case(4, 7, 12, ties=False)
    owner = torch.tensor([0, 0, 1, 3, 3, 3, 4, 5, 6, 6, 6, 6])  # image 2 has none
    first = {int(o): m for m, o in reversed(list(enumerate(owner.tolist())))}
    kept, total = [0, 1, 3, 4, 5, 6], 0.0
    for batch in (kept[:4], kept[4:]):
        logits = 9.0 * images[batch] @ texts[[first[n] for n in batch]].T
        labels = torch.arange(len(batch))
        total += (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)).item() / 2 * len(batch)
    assert metrics.contrastive_loss(images, texts, owner, 9.0, 4) == pytest.approx(total / 6)


def test_ranks_are_handed_out():
    images, texts, owner = random_case(5, 6, 9, ties=False)
    ranks = {}
    found = metrics.retrieval_metrics(images, texts, owner, ranks=ranks)
    assert (ranks["image"] < 5).mean() == pytest.approx(found["image_retrieval_recall@5"])
    assert (ranks["text"] < 1).mean() == pytest.approx(found["text_retrieval_recall@1"])
    assert ranks["owner"].tolist() == owner.tolist()


def test_an_image_without_caption_is_missed():
    images = torch.eye(3)
    found = metrics.retrieval_metrics(images, images[:2], torch.tensor([0, 1]), recall_ranks=(1, 10))
    assert found["text_retrieval_recall@10"] == pytest.approx(2 / 3)
    assert found["image_retrieval_recall@1"] == 1.0


def test_features_that_are_not_finite_make_measures_nan():
    images = torch.eye(3)
    images[1, 1] = float("nan")
    assert all(math.isnan(v) for v in metrics.retrieval_metrics(images, torch.eye(3), torch.arange(3)).values())
    labels = torch.tensor([0, 1, 2])
    found = metrics.classification_metrics(metrics.class_ranks(images, labels), labels, 3)
    assert all(math.isnan(value) for value in found.values())


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [1, 2, 4, 5, 12])
def test_classification_equals_transcription(classes, ties):
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(50, classes, generator=generator)
    logits = logits.round() if ties else logits
    labels = torch.randint(max(1, classes - 1), (50,), generator=generator)  # the last class has no image
    found = metrics.classification_metrics(metrics.class_ranks(logits, labels), labels, classes)
    orders = [order(row) for row in logits.tolist()]
    right = [row[0] == label for row, label in zip(orders, labels.tolist())]
    assert found["acc1"] == pytest.approx(sum(right) / 50)
    top5 = [label in row[: min(5, classes)] for row, label in zip(orders, labels.tolist())]
    assert found["acc5"] == pytest.approx(sum(top5) / 50)
    groups = {c: [r for r, label in zip(right, labels.tolist()) if label == c] for c in set(labels.tolist())}
    recalls = [sum(group) / len(group) for group in groups.values()]
    assert found["mean_per_class_recall"] == pytest.approx(sum(recalls) / len(recalls))
