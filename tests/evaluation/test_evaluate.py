"""Whole evaluations of a tiny model on real tars, and what of a set is refused or skipped."""

import io
import re
import tarfile
from collections import Counter

import pytest
import torch
from PIL import Image

from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.models import load_model
from sclip_plugin.evaluation.retrieval import evaluate_retrieval
from sclip_plugin.evaluation.zeroshot import evaluate_zeroshot
from tests.evaluation.sets import CLASSES, classification_set, model_with_weights, retrieval_set
from tests.helpers.shards import picture, write_tar


@pytest.fixture(scope="module")
def model_name(tmp_path_factory):
    return model_with_weights(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def loaded(model_name):
    return load_model(model_name, None, "cpu", "fp32")


def read(folder):
    """(image, members' text by suffix) in the order of the shards."""
    for shard in sorted((folder / "test").glob("*.tar")):
        members = {}
        with tarfile.open(shard) as tar:
            for member in tar:
                key, suffix = member.name.split(".")
                members.setdefault(key, {})[suffix] = tar.extractfile(member).read()
        for sample in members.values():
            yield Image.open(io.BytesIO(sample["png"])), {s: d.decode() for s, d in sample.items() if s != "png"}


def test_retrieval_end_to_end(loaded, tmp_path):
    model, preprocess, tokenizer = loaded
    folder = retrieval_set(tmp_path / "set")
    counts = Counter()
    found = evaluate_retrieval(*loaded, folder, batch_size=3, recall_ranks=(1, 2), counts=counts)
    samples = list(read(folder))
    captions = [(i, text) for i, (_, answer) in enumerate(samples) for text in answer["txt"].split("\n")]
    assert counts == {"images": 7, "captions": len(captions)}
    with torch.no_grad():
        images = model.encode_image(torch.stack([preprocess(image) for image, _ in samples]), normalize=True)
        texts = model.encode_text(tokenizer([text for _, text in captions]), normalize=True)
    top = (texts @ images.T).topk(2).indices.tolist()
    assert found["image_retrieval_recall@2"] == pytest.approx(
        sum(i in row for (i, _), row in zip(captions, top)) / len(captions)
    )
    top = (images @ texts.T).argmax(dim=1).tolist()
    assert found["text_retrieval_recall@1"] == pytest.approx(sum(captions[t][0] == i for i, t in enumerate(top)) / 7)


def test_zeroshot_end_to_end(loaded, tmp_path):
    model, preprocess, tokenizer = loaded
    folder = classification_set(tmp_path / "set")
    found = evaluate_zeroshot(*loaded, folder, batch_size=3)
    samples = list(read(folder))
    with torch.no_grad():
        images = model.encode_image(torch.stack([preprocess(image) for image, _ in samples]), normalize=True)
        rows = []
        for name in CLASSES:
            prompts = model.encode_text(tokenizer([f"a photo of {name}.", name]), normalize=True).mean(dim=0)
            rows.append(prompts / prompts.norm())
    predicted = (images @ torch.stack(rows).T).argmax(dim=1).tolist()
    right = [p == int(answer["cls"]) for p, (_, answer) in zip(predicted, samples)]
    assert found["acc1"] == pytest.approx(sum(right) / len(right))
    assert found["acc5"] == 1.0


@pytest.mark.parametrize("precision", ["amp_bf16", "bf16"])
def test_other_precisions_and_workers(model_name, tmp_path, precision):
    parts = load_model(model_name, None, "cpu", precision)
    folder = retrieval_set(tmp_path / "set")
    found = evaluate_retrieval(*parts, folder, workers=2, precision=precision)
    assert 0 <= found["image_retrieval_recall@1"] <= found["image_retrieval_recall@10"] == 1.0


def test_model_is_left_in_its_mode(loaded, tmp_path):
    model = loaded[0]
    model.train()
    model.visual.eval()
    evaluate_zeroshot(*loaded, classification_set(tmp_path / "set"))
    assert model.training
    assert not model.visual.training
    model.eval()


def test_unusable_samples_are_skipped_and_counted(loaded, tmp_path, caplog):
    folder = retrieval_set(tmp_path / "set", shards=1)
    write_tar(
        folder / "test" / "0.tar",
        [
            *(("a.png", picture(1)), ("a.txt", b"one")),
            *(("b.png", picture(2)[:80]), ("b.txt", b"two")),
            *(("c.png", picture(3)), ("c.txt", b" \n")),
            ("d.txt", b"three"),
        ],
    )
    counts = Counter()
    evaluate_retrieval(*loaded, folder, counts=counts)
    reasons = ("undecodable image", "no caption", "no image")
    assert counts == {"images": 1, "captions": 1, **{f"skipped: {reason}": 1 for reason in reasons}}
    assert "no caption × 1, no image × 1, undecodable image × 1" in caplog.text


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("dataset_type.txt", "without a dataset_type.txt it counts as a classification set, not one for retrieval"),
        ("test/nshards.txt", "nshards.txt is missing"),
        ("test/1.tar", r"1\.tar: missing, nshards.txt counts 2"),
    ],
)
def test_incomplete_retrieval_set(loaded, tmp_path, missing, message):
    folder = retrieval_set(tmp_path / "set")
    (folder / missing).unlink()
    with pytest.raises(DataError, match=message):
        evaluate_retrieval(*loaded, folder)


@pytest.mark.parametrize("missing", ["classnames.txt", "zeroshot_classification_templates.txt"])
def test_incomplete_classification_set(loaded, tmp_path, missing):
    folder = classification_set(tmp_path / "set")
    (folder / missing).write_text("\n")
    with pytest.raises(DataError, match=f"{missing}: empty"):
        evaluate_zeroshot(*loaded, folder)
    (folder / missing).unlink()
    with pytest.raises(DataError, match=f"{missing} is missing"):
        evaluate_zeroshot(*loaded, folder)


def test_bad_contents_are_named(loaded, tmp_path):
    folder = classification_set(tmp_path / "set", classes=("only",))
    with pytest.raises(DataError, match=r"class '1' is not one of the 1 in classnames\.txt"):
        evaluate_zeroshot(*loaded, folder)
    (folder / "zeroshot_classification_templates.txt").write_text("a photo of {}")
    with pytest.raises(DataError, match=re.escape("no {c} in 'a photo of {}'")):
        evaluate_zeroshot(*loaded, folder)
    (folder / "test" / "nshards.txt").write_text("many")
    with pytest.raises(DataError, match="expected a number of shards, got 'many'"):
        evaluate_zeroshot(*loaded, folder)
    with pytest.raises(DataError, match="no such folder"):
        evaluate_zeroshot(*loaded, tmp_path / "nowhere")


def test_a_set_without_usable_samples(loaded, tmp_path):
    folder = retrieval_set(tmp_path / "set", shards=1)
    write_tar(folder / "test" / "0.tar", [("a.txt", b"one")])
    with pytest.raises(DataError, match=r"no usable sample \(no image × 1\)"):
        evaluate_retrieval(*loaded, folder)


def test_pretrained_counts_for_a_local_dir(model_name, tmp_path):
    state = {
        key: torch.zeros_like(value)
        for key, value in load_model(model_name, None, "cpu", "fp32")[0].state_dict().items()
    }
    torch.save(state, tmp_path / "zero.pt")
    model = load_model(model_name, str(tmp_path / "zero.pt"), "cpu", "fp32")[0]
    assert all(not parameter.any() for parameter in model.parameters())
