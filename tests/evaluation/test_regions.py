"""Retrieval within pictures: reading annotations, cropping, and the figures against a plain computation."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.bootstrap import replicates
from sclip_plugin.evaluation.models import load_model
from sclip_plugin.evaluation.regions import evaluate_regions, open_regions, square
from tests.evaluation.sets import model_with_weights, region_set


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load_model(model_with_weights(tmp_path_factory.mktemp("model")), None, "cpu", "fp32")


def test_figures_equal_a_plain_computation(loaded, tmp_path):
    model, preprocess, tokenizer = loaded
    folder = region_set(tmp_path / "set")
    counts, ranks = Counter(), {}
    found = evaluate_regions(*loaded, folder, batch_size=4, counts=counts, ranks=ranks)
    hits, back = [], []
    with torch.no_grad():
        for file, regions in open_regions(folder).pictures.items():
            picture = Image.open(file).convert("RGB")
            crops = [picture.crop(square(one.box, *picture.size)) for one in regions]
            images = model.encode_image(torch.stack([preprocess(one) for one in crops]), normalize=True)
            texts = model.encode_text(tokenizer([one.caption for one in regions]), normalize=True)
            hits += ((texts @ images.T).argmax(dim=1) == torch.arange(3)).tolist()
            back += ((images @ texts.T).argmax(dim=1) == torch.arange(3)).tolist()
    assert found["region_retrieval_recall@1"] == pytest.approx(np.mean(hits))
    assert found["caption_retrieval_recall@1"] == pytest.approx(np.mean(back))
    assert found["region_chance"] == pytest.approx(1 / 3)
    assert counts == {"images": 3, "regions": 9}
    assert ranks["picture"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    drawn = replicates(ranks, 50)
    assert set(drawn) == set(found)
    assert drawn["region_retrieval_recall@1"].mean() == pytest.approx(np.mean(hits), abs=0.1)


def test_workers_give_the_same(loaded, tmp_path):
    folder = region_set(tmp_path / "set")
    assert evaluate_regions(*loaded, folder, workers=2) == evaluate_regions(*loaded, folder)


def test_regions_of_one_caption_are_each_others_answers(loaded, tmp_path):
    notes = [{"image_id": 0, "bbox": [30 * n, 0, 30, 40], "caption": text} for n, text in enumerate(["a", "a", "b"])]
    folder = region_set(tmp_path / "set", pictures=1, annotations=notes)
    found = evaluate_regions(*loaded, folder)
    assert found["region_chance"] == pytest.approx((2 + 2 + 1) / 9)


def test_what_cannot_be_used_is_counted(loaded, tmp_path):
    good = [{"image_id": 0, "bbox": [30 * n, 0, 30, 40], "caption": text} for n, text in enumerate("abc")]
    bad = [
        {"image_id": 0, "bbox": [0, 0, 0, 5], "caption": "x"},
        {"image_id": 0, "bbox": [0, 0, "1", 5], "caption": "x"},
        {"image_id": 0, "bbox": [0, 0, 5, 5]},
        {"image_id": 7, "bbox": [0, 0, 5, 5], "caption": "x"},
        {"image_id": 0, "bbox": [500, 0, 5, 5], "caption": "x"},
        {"image_id": 1, "bbox": [0, 0, 5, 5], "caption": "alone"},
        {"image_id": 2, "bbox": [0, 0, 5, 5], "caption": "of a"},
        {"image_id": 2, "bbox": [0, 0, 5, 5], "caption": "damaged picture"},
    ]
    folder = region_set(tmp_path / "set", annotations=good + bad)
    (folder / "images" / "2.png").write_bytes(b"no picture")
    counts = Counter()
    evaluate_regions(*loaded, folder, counts=counts)
    assert counts == {
        "images": 1,
        "regions": 3,
        "skipped: no box": 2,
        "skipped: no caption": 1,
        "skipped: no such image": 1,
        "skipped: box outside the picture": 1,
        "skipped: alone in its picture": 1,
        "skipped: undecodable image": 2,
    }


def test_a_category_stands_for_a_caption(tmp_path):
    notes = [{"image_id": 0, "bbox": [30 * n, 0, 30, 40], "category_id": n} for n in range(2)]
    categories = [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    folder = region_set(tmp_path / "set", pictures=1, annotations=notes, categories=categories)
    (regions,) = open_regions(folder).pictures.values()
    assert [one.caption for one in regions] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": {}}, "annotations.json: images must be a list of objects"),
        ({"annotations": [1]}, "annotations.json: annotations must be a list of objects"),
        ({"annotations": []}, r"no picture with two regions whose captions differ \(no annotations\)"),
        ({"images": [{"id": 0, "file_name": "../../secret.png"}]}, "no such image × 9"),
    ],
)
def test_sets_that_cannot_be_used(tmp_path, changes, message):
    (tmp_path / "secret.png").write_bytes(b"")
    with pytest.raises(DataError, match=message):
        open_regions(region_set(tmp_path / "set", **changes))


def test_missing_and_damaged_annotations(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        open_regions(tmp_path / "nowhere")
    with pytest.raises(DataError, match="annotations.json is missing"):
        open_regions(tmp_path)
    (tmp_path / "annotations.json").write_text("[")
    with pytest.raises(DataError, match="annotations.json: not JSON"):
        open_regions(tmp_path)
    (tmp_path / "annotations.json").write_text("[]")
    with pytest.raises(DataError, match="must be an object with images and annotations"):
        open_regions(tmp_path)


@pytest.mark.parametrize(
    ("box", "crop"),
    [
        ((10, 10, 20, 20), (10, 10, 30, 30)),
        ((10, 10, 10, 30), (0, 10, 30, 40)),  # grows to both sides
        ((0, 10, 10, 30), (0, 10, 30, 40)),  # and only inside the picture
        ((90, 0, 10, 20), (80, 0, 100, 20)),
        ((0, 0, 100, 10), (0, 0, 100, 50)),  # as far as the picture goes
        ((-5, -5, 10, 10), (0, 0, 10, 10)),
        ((99.9, 49.9, 0.05, 0.05), (99, 49, 100, 50)),  # at least a pixel
        ((100, 0, 5, 5), None),
        ((-5, 0, 5, 5), None),
    ],
)
def test_crops_are_square_where_the_picture_allows(box, crop):
    assert square(box, 100, 50) == crop


def test_features_that_are_not_finite_are_not_hidden(loaded, tmp_path):
    _, preprocess, tokenizer = loaded
    broken = load_model(model_with_weights(tmp_path / "m"), None, "cpu", "fp32")[0]
    with torch.no_grad():
        broken.visual.proj.fill_(math.nan)
    found = evaluate_regions(broken, preprocess, tokenizer, region_set(tmp_path / "set"))
    assert all(math.isnan(value) for value in found.values())
