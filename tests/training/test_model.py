"""The adapted model: one pass for mixed batches, stock for all else, keywords at their own length."""

import open_clip
import pytest
import torch

from sclip_plugin.data.batch import MixedImages, MixedTexts
from sclip_plugin.training.model import adapt, trim
from tests.helpers.models import write_model

KEYWORDS = ["tree", "a long bridge over the river", "parking lot"]


@pytest.fixture(params=["vit", "rn", "custom"])
def pair(request, tmp_path):
    """(stock model, the same adapted, tokens of the keywords)."""
    kind = request.param
    name = write_model(tmp_path, "rn" if kind == "rn" else "vit", custom_text=kind == "custom")
    torch.manual_seed(0)
    stock = open_clip.create_model(name, output_dict=True).double().train()
    torch.manual_seed(0)
    tokens = open_clip.get_tokenizer(name)(KEYWORDS)
    adapted = adapt(open_clip.create_model(name, output_dict=True).double().train(), tokens)
    adapted.load_state_dict(stock.state_dict())
    assert (type(stock).__name__ == "CustomTextCLIP") == (kind == "custom")
    return stock, adapted, tokens


def batch(tokens):
    torch.manual_seed(1)
    pixels = torch.randn(5, 3, 32, 32, dtype=torch.float64)
    return MixedImages(pixels, 3), MixedTexts(tokens, torch.eye(3, dtype=torch.bool))


def test_features_are_the_towers(pair):
    stock, adapted, tokens = pair
    images, texts = batch(tokens)
    output = adapted(images, texts)
    expected = stock(images.pixels, tokens)
    assert list(output) == [
        "text_features", "logit_scale", "image_features", "unpaired_features", "keyword_features", "keyword_candidates"
    ]  # fmt: skip
    torch.testing.assert_close(output["image_features"], expected["image_features"][:3])
    torch.testing.assert_close(output["unpaired_features"], expected["image_features"][3:])
    torch.testing.assert_close(output["text_features"], expected["text_features"])
    assert output["keyword_candidates"] is texts.candidates


def test_keywords_at_their_own_length_have_the_same_features_and_gradients(pair):
    stock, adapted, tokens = pair
    assert trim(stock, tokens).shape == (3, 8) != tokens.shape  # six words, start, end
    weight = torch.randn(3, 32, dtype=torch.float64)
    short = adapted(*batch(tokens))["keyword_features"]
    full = stock(None, tokens)["text_features"]
    torch.testing.assert_close(short, full)
    (short * weight).sum().backward()
    (full * weight).sum().backward()
    theirs = dict(stock.named_parameters())
    compared = 0
    for name, parameter in adapted.named_parameters():
        if theirs[name].grad is not None:
            torch.testing.assert_close(parameter.grad, theirs[name].grad, msg=name)
            compared += 1
    assert compared > 10


def test_plain_tensors_and_state_dict_are_stock(pair):
    stock, adapted, tokens = pair
    images, _ = batch(tokens)
    output = adapted(images.pixels[:3], tokens)
    assert set(output) == {"image_features", "text_features", "logit_scale"}
    assert list(adapted.state_dict()) == list(stock.state_dict())
    assert isinstance(adapted, type(stock))


def test_each_rank_encodes_its_shard_and_the_last_is_padded(tmp_path):
    name = write_model(tmp_path)
    tokens = open_clip.get_tokenizer(name)(KEYWORDS)
    torch.manual_seed(0)
    whole = adapt(open_clip.create_model(name, output_dict=True), tokens)
    images, texts = MixedImages(torch.zeros(4, 3, 32, 32), 3), MixedTexts(tokens, torch.eye(3, dtype=torch.bool))
    expected = whole(images, texts)["keyword_features"]
    for world in (2, 4):
        shards = []
        for rank in range(world):
            whole.sclip_rank, whole.sclip_world_size = rank, world
            shards.append(whole(images, texts)["keyword_features"])
        assert {len(shard) for shard in shards} == {-(-3 // world)}
        torch.testing.assert_close(torch.cat(shards)[:3], expected)


def test_accumulation_divides_the_scale_gradient_and_not_its_value(tmp_path):
    name = write_model(tmp_path)
    model = adapt(open_clip.create_model(name, output_dict=True), accum_freq=4)
    images, texts = MixedImages(torch.zeros(3, 3, 32, 32), 2), MixedTexts(torch.zeros(2, 16, dtype=torch.long))
    scale = model(images, texts)["logit_scale"]
    torch.testing.assert_close(scale, model.logit_scale.exp())
    scale.backward()
    torch.testing.assert_close(model.logit_scale.grad, model.logit_scale.detach().exp() / 4)


def test_a_model_without_dict_output_is_refused(tmp_path):
    with pytest.raises(TypeError, match="CLIP must be built with output_dict=True"):
        adapt(open_clip.create_model(write_model(tmp_path)))
