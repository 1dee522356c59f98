"""Low-rank adapters in a model: they learn, whatever the tower, and the merged weights are an open_clip model's."""

import copy
import re

import pytest
import torch
from open_clip import create_model, get_tokenizer

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.evaluation.features import Encoder
from sclip_plugin.training.adapters import adapter_weights, add_adapters, restore_adapters, told
from sclip_plugin.training.checkpoints import ADAPTERS, adapters_entry, read_resumed
from sclip_plugin.training.lora import LoraSettings
from tests.helpers.models import TEXT, VISION, write_model
from tests.helpers.training import train_arguments
from tests.training.test_refusals import parse, refusal  # noqa: F401 (a fixture)

TIMM = {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear"}
KINDS = {
    "CLIP": {},
    "CustomTextCLIP": {"custom_text": True},
    "timm image tower": {"vision_cfg": {**TIMM, "timm_model_pretrained": False}},
    "cross-attention pooling": {
        "embed_dim": 64,  # the width, so that nothing but the call tells it from self-attention
        "vision_cfg": {**VISION["vit"], "attentional_pool": True, "attn_pooler_heads": 2},
    },
    "mask of each text": {"custom_text": True, "text_cfg": {**TEXT, "embed_cls": True, "pad_id": 0}},
    "ResNet": {"vision_cfg": VISION["rn"]},
    "attention of its own": {"vision_cfg": {**VISION["vit"], "block_type": "custom", "qk_norm": True}},
}
BOTH = ("image", "text")
TEXTS = ["a tree", "a river in a park", "parking lots"]


@pytest.fixture(scope="module", params=KINDS)
def start(request, tmp_path_factory):
    """(a start model, its tokenizer)."""
    name = write_model(tmp_path_factory.mktemp("model"), **KINDS[request.param])
    torch.manual_seed(3)
    model = create_model(name, output_dict=True)
    for part, one in model.named_parameters():
        if part.endswith("bn3.weight"):  # zero in a new model, so that nothing behind it would learn
            torch.nn.init.ones_(one)
    return model, get_tokenizer(name)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    name = write_model(tmp_path_factory.mktemp("clip"))
    torch.manual_seed(3)
    return create_model(name, output_dict=True), get_tokenizer(name)


def adapted(start, towers=BOTH, precision="fp32", **settings):
    model, tokenizer = copy.deepcopy(start[0]), start[1]
    wanted = LoraSettings(**{"rank": 2, "alpha": 6.0, "dropout": 0.0, "towers": towers, **settings})
    add_adapters(model, wanted, Encoder(model, tokenizer, precision=precision), seed=0)
    return model, wanted


def batch(start, seed=1):
    side = start[0].visual.image_size
    height, width = side if isinstance(side, tuple) else (side, side)
    return torch.randn(3, 3, height, width, generator=torch.Generator().manual_seed(seed)), start[1](TEXTS)


def features(model, images, texts):
    return torch.cat([model(images, texts)[name] for name in ("image_features", "text_features")])


def train(model, start, steps=3):
    """Some steps of the contrastive loss, large ones."""
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=0.03)
    images, texts = batch(start)
    for _ in range(steps):
        optimizer.zero_grad()
        out = model(images, texts)
        logits = out["logit_scale"] * out["image_features"] @ out["text_features"].T
        torch.nn.functional.cross_entropy(logits, torch.arange(3)).backward()
        optimizer.step()


def test_begins_as_the_start_model(start):
    model, _ = adapted(start)
    batched = batch(start)
    assert torch.allclose(features(model, *batched), features(start[0], *batched), atol=1e-6)


def test_every_adapter_learns_and_nothing_else_but_the_scale(start):
    model, _ = adapted(start)
    frozen = {name: one.clone() for name, one in model.named_parameters() if "lora_" not in name}
    train(model, start)
    without = [name for name, one in model.named_parameters() if "lora_" in name and not one.grad.count_nonzero()]
    assert without == []
    moved = [name for name, one in model.named_parameters() if name in frozen and not torch.equal(one, frozen[name])]
    assert moved == ["logit_scale"]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_the_merged_model_gives_equal_features(grad, training, start):
    """Without gradients and in eval mode torch's attention takes another path."""
    model, _ = adapted(start)
    train(model, start)
    merged = copy.deepcopy(start[0])
    merged.load_state_dict(model.state_dict(), strict=True)
    for one in (model, merged, start[0]):
        one.train(training)
    with torch.set_grad_enabled(grad):
        batched = batch(start, seed=2)
        found = features(model, *batched)
        assert (found - features(merged, *batched)).abs().max() <= 1e-5
        assert (found - features(start[0], *batched)).abs().max() > 1e-2


def test_the_state_dict_has_open_clips_names_in_open_clips_order(start):
    model, _ = adapted(start)
    assert list(model.state_dict()) == list(start[0].state_dict())
    wrapped = torch.nn.ModuleDict({"module": model})  # as DDP holds it
    assert list(wrapped.state_dict()) == [f"module.{name}" for name in start[0].state_dict()]


def test_adapts_attention_and_mlp_of_each_block(clip):
    model, settings = adapted(clip)
    layers = ("attn.sclip_in_proj", "attn.out_proj", "mlp.c_fc", "mlp.c_proj")
    names = {re.sub(r"\.lora_[AB]\..*", "", name) for name in adapter_weights(model)}
    towers = ("transformer", "visual.transformer")
    assert names == {f"{tower}.resblocks.{block}.{layer}" for tower in towers for block in (0, 1) for layer in layers}
    assert "LoRA of rank 2, alpha 6, on 16 layers of the image and text towers: 6145 numbers" in told(model, settings)


def test_adapts_convolutions_and_pooling_of_a_resnet(tmp_path):
    name = write_model(tmp_path, "rn")
    model, _ = adapted((create_model(name, output_dict=True), get_tokenizer(name)), towers=("image",))
    names = {re.sub(r"\.lora_[AB]\..*", "", name) for name in adapter_weights(model)}
    pooling = {f"visual.attnpool.{one}_proj" for one in "qkvc"}
    blocks = {f"visual.layer{n}.0.{one}" for n in (1, 2, 3, 4) for one in ("conv1", "conv2", "conv3", "downsample.0")}
    assert names == {"visual.conv2", "visual.conv3", *pooling, *blocks}  # not the one that reads pixels


def test_what_is_called_as_a_function_is_left_alone(start):
    """Weights that no module of their own uses: a wrapper around them would do nothing."""
    names = " ".join(adapter_weights(adapted(start)[0]))
    assert "attn_pool" not in names
    if "block_type" in str(type(start[0].visual)):
        assert "in_proj" not in names


@pytest.mark.parametrize("tower", BOTH)
def test_a_locked_tower_stays_as_it_is(tower, clip):
    model, _ = adapted(clip, towers=(tower,))
    assert {name.startswith("visual.") for name in adapter_weights(model)} == {tower == "image"}
    train(model, clip)
    batched = batch(clip)
    image, text = features(model, *batched).sub(features(clip[0], *batched)).abs().chunk(2)
    assert (image.max() > 1e-2, text.max() > 1e-2) == (tower == "image", tower == "text")
    assert min(image.max(), text.max()) < 1e-6


@pytest.mark.parametrize("precision", ["amp_bf16", "bf16"])
def test_half_precision(precision, clip):
    if precision == "bf16":
        from open_clip.model import convert_weights_to_lp

        half = copy.deepcopy(clip[0])
        convert_weights_to_lp(half, torch.bfloat16)
        model, _ = adapted((half, clip[1]), precision="bf16")
        for name, one in model.named_parameters():
            if "lora_B" in name:
                one.data.normal_(std=0.1)
    else:
        model, _ = adapted(clip)
        train(model, clip)
    merged = copy.deepcopy(clip[0])
    merged.load_state_dict(model.state_dict())
    images, texts = batch(clip, seed=2)
    images = images.to(torch.bfloat16) if precision == "bf16" else images
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "amp_bf16"):
        found = features(model, images, texts)
    expected = features(merged, images.float(), texts)
    assert (found.float() - expected).abs().max() < 0.03
    assert (expected - features(clip[0], images.float(), texts)).abs().max() > 0.1
    found.float().sum().backward()
    assert all(one.grad.count_nonzero() for name, one in model.named_parameters() if "lora_" in name)


def test_the_first_values_are_the_seeds_and_the_random_state_is_kept(clip):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = adapter_weights(adapted(clip)[0])
    assert torch.equal(torch.rand(3), expected)
    other = adapter_weights(adapted(clip)[0])
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_alpha_over_rank_is_what_an_update_counts(clip):
    small, large = adapted(clip, alpha=2.0)[0], adapted(clip, alpha=6.0)[0]
    name = "visual.transformer.resblocks.0.attn.in_proj_weight"
    for model in (small, large):
        train(model, clip, steps=1)
        with torch.no_grad():
            for one in adapter_weights(model).values():
                one.fill_(0.1)
    change = [model.state_dict()[name] - clip[0].state_dict()[name] for model in (small, large)]
    assert torch.allclose(3 * change[0], change[1], atol=1e-6)
    assert torch.allclose(change[0], torch.full_like(change[0], 0.02), atol=1e-6)  # rank 2 of 0.1 · 0.1


def test_restored_adapters_are_those_of_the_checkpoint(clip):
    trained, _ = adapted(clip)
    train(trained, clip)
    fresh, _ = adapted(clip)
    restore_adapters(fresh, adapter_weights(trained), trained.state_dict(), "x.pt")
    fresh.load_state_dict(trained.state_dict())
    for name, tensor in trained.named_parameters():
        assert torch.equal(tensor, dict(fresh.named_parameters())[name]), name


def test_a_checkpoint_of_another_start_model_is_refused(clip):
    trained, _ = adapted(clip)
    train(trained, clip)
    other = copy.deepcopy(clip[0])
    other.get_parameter("visual.conv1.weight").data += 0.01
    fresh, _ = adapted((other, clip[1]))
    with pytest.raises(DataError, match=r"--resume x\.pt: adapts another start model: visual\.conv1\.weight differs"):
        restore_adapters(fresh, adapter_weights(trained), trained.state_dict(), "x.pt")
    odd = {"visual.transformer.resblocks.0.attn.in_proj_weight": torch.ones(192, 64)}
    with pytest.raises(RuntimeError, match="in_proj_weight is not the start model's weight with the update"):
        fresh.load_state_dict({**clip[0].state_dict(), **odd})
    with pytest.raises(DataError, match=r"x\.pt: its adapters are of other layers"):
        restore_adapters(fresh, adapter_weights(adapted(clip, rank=3)[0]), trained.state_dict(), "x.pt")


@pytest.mark.parametrize(
    "change", [{"weights": 5}, {"weights": {"a": 5}}, {"rank": "4"}, {"alpha": None}, {"towers": 3}, None]
)
def test_a_checkpoint_with_odd_adapters_is_refused(change, clip, tmp_path):
    model, settings = adapted(clip)
    entry = adapters_entry(settings, adapter_weights(model))
    saved = {"epoch": 1, "state_dict": model.state_dict(), "optimizer": {ADAPTERS: entry}}
    torch.save(saved, tmp_path / "x.pt")
    assert read_resumed(str(tmp_path / "x.pt"), distributed=False).adapters["rank"] == 2
    torch.save({**saved, "optimizer": {ADAPTERS: {**entry, **change} if change else 5}}, tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"x\.pt: its adapters are not what a run with --lora-rank writes"):
        read_resumed(str(tmp_path / "x.pt"), distributed=False)


def test_a_tower_without_a_layer_to_adapt_is_refused(clip):
    bare = copy.deepcopy(clip[0])
    bare.visual.transformer.resblocks = torch.nn.ModuleList()
    with pytest.raises(UsageError, match="--lora-rank: the image tower of --model has no layer that could be adapted"):
        adapted((bare, clip[1]))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"lora_rank": 0}, "--lora-rank: must be a whole number > 0, got '0'"),
        ({"lora_rank": 4, "lora_alpha": 0}, "--lora-alpha: must be a number > 0, got '0'"),
        ({"lora_rank": 4, "lora_dropout": 1}, "--lora-dropout: must be a number from 0 up to 1, got '1'"),
        ({"lora_alpha": 4}, "--lora-alpha does nothing without --lora-rank"),
        ({"lora_dropout": 0}, "--lora-dropout does nothing without --lora-rank"),
        ({"lora_rank": 4, "lock_image": True, "lock_text": True}, "with both locked none is adapted"),
        (
            {"lora_rank": 4, "lock_image": True, "lock_image_unlocked_groups": 1},
            "--lock-image-unlocked-groups does not work with --lora-rank",
        ),
        (
            {"lora_rank": 4, "lock_text": True, "lock_text_unlocked_layers": 1},
            "--lock-text-unlocked-layers does not work with --lora-rank",
        ),
        ({"lora_rank": 4, "use_bnb_linear": "x"}, "--use-bnb-linear does not work with --lora-rank"),
        ({"lora_rank": 4, "resume": "s3://x/y.pt"}, "with --lora-rank a run goes on from a local file only"),
        (
            {"lora_rank": 4, "loss": None, "unpaired_data": None, "keywords": None},
            "--lora-rank: only with --loss sclip or --loss clip",
        ),
    ],
)
def test_refuses(flags, message, parse, capsys, shards, tiny_model, tmp_path):  # noqa: F811
    assert message in refusal(parse, capsys, train_arguments(shards, tiny_model, tmp_path, **flags))


def test_without_peft(parse, capsys, shards, tiny_model, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("sclip_plugin.training.lora.find_spec", lambda name: None)
    said = refusal(parse, capsys, train_arguments(shards, tiny_model, tmp_path, lora_rank=4))
    assert said.endswith("--lora-rank needs peft: pip install 'sclip-plugin[lora]'")


@pytest.mark.parametrize("loss", ["sclip", "clip"])
def test_is_taken_with_either_loss(loss, parse, shards, tiny_model, tmp_path):  # noqa: F811
    others = {} if loss == "sclip" else {"unpaired_data": None, "keywords": None}
    args = parse(train_arguments(shards, tiny_model, tmp_path, loss=loss, lora_rank=4, **others))
    assert (args.lora_alpha, args.lora_dropout) == (4, 0)
