"""Labels of a tiny model on real shards, against the loss's own functions."""

import pytest
import torch

from sclip_plugin.data.shard_list import expand
from sclip_plugin.diagnostics.measures import label_measures
from sclip_plugin.evaluation.features import Encoder
from sclip_plugin.inspection.labels import drawn_captions, label_images
from sclip_plugin.inspection.pictures import Picture, read_pictures
from sclip_plugin.keywords import Vocabulary
from sclip_plugin.loss.pseudo_labels import pseudo_labels
from sclip_plugin.loss.settings import LossSettings


@pytest.fixture(scope="module")
def samples(shards):
    """12 pairs and 9 unpaired images."""
    return (
        read_pictures(expand(str(shards / "paired"), "--train-data"), 12, paired=True),
        read_pictures(expand(str(shards / "unpaired"), "--unpaired-data"), 9, paired=False),
    )


@pytest.mark.parametrize("choice", ["ot-image", "hard-text", "soft-image"])
def test_labels_are_the_heaviest_captions_and_keywords(loaded, samples, choice):
    model, preprocess, tokenizer = loaded
    pairs, unpaired = samples
    assert (len(pairs), len(unpaired)) == (12, 9)
    assert pairs[0].captions[0] == "a red tree number 0"
    encoder, words = Encoder(model, tokenizer), Vocabulary(["tree", "river", "park", "zebra"])
    model.train()
    settings = LossSettings(choice, sinkhorn_iterations=4)
    labelled, figures = label_images(encoder, preprocess, pairs, unpaired, settings=settings, vocabulary=words, shown=3)
    assert model.training  # as it was
    assert [image.picture for image in labelled] == [unpaired[0], unpaired[4], unpaired[8]]
    model.eval()
    queries, images = (encoder.images(torch.stack([preprocess(p.open()) for p in ps])) for ps in (unpaired, pairs))
    texts = encoder.texts([pair.captions[0] for pair in pairs])
    support = texts if choice.endswith("text") else images
    plan = pseudo_labels(choice, queries, support, model.logit_scale.exp(), iterations=4)
    for image, row in zip(labelled, (0, 4, 8)):
        order = sorted(range(12), key=lambda j: -plan[row, j])
        for (text, weight), j in zip(image.captions, order):
            assert pairs[j] in image.sources
            assert (text, weight) == (pairs[j].captions[0], pytest.approx(plan[row, j].item(), rel=1e-4))
        nearest = pairs[order[0]].captions[0]
        assert {word for word, _ in image.keywords} == {word for word in words if word in nearest.split()}
        entropy = torch.special.entr(plan[row]).sum()
        assert image.effective_captions == pytest.approx(entropy.exp().item(), rel=1e-4)
    assert figures["label_entropy"] == pytest.approx(label_measures(plan)["label_entropy"].item(), abs=1e-4)
    assert "commonest_index" not in figures


def test_keywords_are_absent_without_a_vocabulary_and_empty_without_candidates(loaded, samples):
    model, preprocess, tokenizer = loaded
    encoder = Encoder(model, tokenizer)
    bare, figures = label_images(encoder, preprocess, *samples, shown=1)
    assert bare[0].keywords is None
    assert "without_candidates" not in figures
    nothing, figures = label_images(encoder, preprocess, *samples, vocabulary=Vocabulary(["zebra"]), shown=1)
    assert nothing[0].keywords == []
    assert figures["without_candidates"] == 1


def test_the_keyword_template_and_the_batch_size(loaded, samples, monkeypatch):
    model, preprocess, tokenizer = loaded
    encoder, encoded = Encoder(model, tokenizer), []
    original = encoder.texts
    monkeypatch.setattr(encoder, "texts", lambda texts: (encoded.append(texts), original(texts))[1])
    options = {"vocabulary": Vocabulary(["tree", "river", "park"]), "keyword_template": "a photo of {}"}
    small = label_images(encoder, preprocess, *samples, batch_size=2, **options)
    assert encoded == [["a photo of tree", "a photo of river"], ["a photo of park"]]
    whole = label_images(encoder, preprocess, *samples, **options)
    assert [image.picture for image in small[0]] == [image.picture for image in whole[0]]
    assert small[1] == {name: pytest.approx(value, abs=1e-5) for name, value in whole[1].items()}


def test_all_captions_of_the_pairs_are_drawn_and_always_the_same(samples):
    pairs = [Picture(one.data, ("a tree", "a river", "a park")) for one in samples[0]]
    drawn = drawn_captions(pairs)
    assert set(drawn) == {"a tree", "a river", "a park"}
    assert drawn_captions(pairs) == drawn
