"""Every combination that cannot work is refused while parsing, in one line that names the flag."""

import pytest

from tests.helpers.models import write_model
from tests.helpers.shards import write_shards, write_tar
from tests.helpers.training import train_arguments


@pytest.fixture(scope="session")
def parse():
    from sclip_plugin import host

    host.install("explicit main")
    from open_clip_train.params import parse_args

    return parse_args


def refusal(parse, capsys, arguments) -> str:
    with pytest.raises(SystemExit) as stopped:
        parse(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"siglip": True}, "--siglip does not work with --loss sclip"),
        ({"horovod": True}, "--horovod does not work"),
        ({"trace": True}, "--trace does not work"),
        ({"torchscript": True}, "--torchscript does not work"),
        ({"distill_model": "ViT-B-32", "distill_pretrained": "x"}, "--distill-model does not work"),
        ({"use_bn_sync": True}, "--use-bn-sync needs CUDA: PyTorch has no synchronised BatchNorm on the CPU"),
        ({"model": "coca_ViT-B-32"}, "CoCa models do not work"),
        ({"train_data": "captions.csv"}, "csv data does not work"),
        ({"dataset_type": "synthetic"}, "--dataset-type synthetic does not work"),
        ({"unpaired_data": None}, "--loss sclip needs --unpaired-data"),
        ({"unpaired_data": None, "sclip_pair_keyword_weight": 0}, "--loss sclip needs --unpaired-data"),
        (
            {"unpaired_data": None, "sclip_pair_keyword_weight": 1, "sclip_caption_weight": 1},
            "--sclip-caption-weight does nothing without --unpaired-data",
        ),
        (
            {"unpaired_data": None, "sclip_pair_keyword_weight": 1, "unpaired_batch_size": 4},
            "--unpaired-batch-size does nothing without --unpaired-data",
        ),
        (
            {"keywords": None, "sclip_pair_keyword_weight": 1},
            "--sclip-pair-keyword-weight does nothing without --keywords",
        ),
        ({"sclip_pair_keyword_weight": -1}, "--sclip-pair-keyword-weight: must be a number ≥ 0"),
        ({"train_data": None}, "--loss sclip needs --train-data"),
        ({"sclip_epsilon": 0.1, "sclip_pseudo_label": "soft-text"}, "--sclip-epsilon does nothing"),
        ({"sclip_epsilon": -1}, "--sclip-epsilon: must be a number > 0, got '-1'"),
        ({"sclip_sinkhorn_iterations": "x"}, "must be a whole number ≥ 0, got 'x'"),
        ({"sclip_caption_weight": "nan"}, "must be a number ≥ 0"),
        ({"sclip_pseudo_label": "soft"}, "--sclip-pseudo-label: invalid choice"),
        ({"keywords": None, "keyword_template": "a {}"}, "--keyword-template does nothing without --keywords"),
        ({"keyword_template": "a photo"}, "--keyword-template must hold {} once"),
        ({"unpaired_upsampling_factors": "1::2"}, "--unpaired-upsampling-factors needs --dataset-resampled"),
        ({"unpaired_upsampling_factors": "1::2", "dataset_resampled": True}, "has 2 numbers but --unpaired-data has 1"),
        ({"unpaired_num_samples": 7}, "--unpaired-num-samples 7: the shards hold 60"),
        ({"zeroshot_data": "nothing"}, "--zeroshot-data nothing: no such folder: nothing"),
        ({"zeroshot_data": "nothing="}, "--zeroshot-data must be NAME=DIR or DIR"),
        ({"zeroshot_data": "aid=/no/such"}, "--zeroshot-data aid: no such folder: /no/such"),
        ({"train_data": "/no/{0..3}.tar"}, "--train-data: no such shard: /no/0.tar (from '/no/{0..3}.tar')"),
        ({"batch_size": 41}, "holds 40 pairs, fewer than one global batch of 41"),
        ({"batch_size": 11, "accum_freq": 4}, "holds 40 pairs, fewer than one global batch of 44"),
        ({"keywords": "/no/such.txt"}, "keyword file /no/such.txt: No such file"),
        (
            {"unpaired_data": None, "sclip_pair_keyword_weight": 1, "sclip_recipe": "trusted"},
            "--sclip-recipe trusted needs --unpaired-data",
        ),
        (
            {"unpaired_data": None, "sclip_pair_keyword_weight": 1, "sclip_trust": "all"},
            "--sclip-trust does nothing without --unpaired-data",
        ),
        ({"sclip_teacher": "start"}, "--sclip-teacher start does not work with --sclip-support batch"),
        ({"sclip_support": "pairs"}, "--sclip-teacher student does not work with --sclip-support pairs"),
        (
            {"sclip_trust": "calibrated"},
            "--sclip-trust calibrated needs --sclip-teacher start and --sclip-support pairs",
        ),
        ({"sclip_recipe": "trusted", "sclip_epsilon": 1}, "--sclip-epsilon does nothing with --sclip-support pairs"),
        (
            {"sclip_recipe": "trusted", "sclip_pseudo_label": "hard-image"},
            "--sclip-pseudo-label does nothing with --sclip-support pairs",
        ),
        (
            {"sclip_recipe": "trusted", "sclip_trust": "threshold"},
            "--sclip-trust threshold and --sclip-trust-threshold go together",
        ),
        (
            {"sclip_recipe": "trusted", "sclip_trust_threshold": 0.5},
            "--sclip-trust threshold and --sclip-trust-threshold go together",
        ),
        (
            {"sclip_recipe": "trusted", "dataset_resampled": True},
            "--dataset-resampled does not work with --sclip-support pairs",
        ),
        (
            {"sclip_candidates": "plan", "sclip_keyword_targets": "uniform"},
            "--sclip-keyword-targets does nothing with --sclip-candidates plan",
        ),
        ({"keywords": None, "sclip_candidates": "plan"}, "--sclip-candidates does nothing without --keywords"),
        (
            {"loss": "clip", "unpaired_data": None, "keywords": None, "sclip_recipe": "paper"},
            "--sclip-recipe: only with",
        ),
        ({"loss": None}, "--unpaired-data, --keywords: only with --loss sclip"),
        ({"loss": "clip", "unpaired_data": None, "keywords": None, "sclip_epsilon": 1}, "--sclip-epsilon: only with"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_refused(flags, message, parse, capsys, shards, tmp_path):
    flags = dict(flags)
    arguments = train_arguments(shards, flags.pop("model", "RN50"), tmp_path, **flags)
    assert message in refusal(parse, capsys, arguments)


def test_global_batch_counts_processes(parse, capsys, shards, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    message = refusal(parse, capsys, train_arguments(shards, "RN50", tmp_path))
    assert "holds 40 pairs, fewer than one global batch of 64 (--batch-size 8 × 8 processes" in message


def test_a_run_that_would_fall_back_to_the_cpu(parse, capsys, shards, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    arguments = train_arguments(shards, "RN50", tmp_path, use_bn_sync=True, device=None)
    assert "--use-bn-sync needs CUDA" in refusal(parse, capsys, arguments)


def test_a_validation_folder_that_is_no_retrieval_set(parse, capsys, shards, tmp_path):
    arguments = train_arguments(shards, "RN50", tmp_path, val_data=shards / "paired")
    assert "paired: a folder must be a retrieval set" in refusal(parse, capsys, arguments)


def test_a_folder_without_shards_and_shards_without_samples(parse, capsys, shards, tmp_path):
    arguments = train_arguments(shards, "RN50", tmp_path, unpaired_data=tmp_path)
    assert f"--unpaired-data: the folder {tmp_path} holds no *.tar" in refusal(parse, capsys, arguments)
    write_tar(tmp_path / "0.tar", [])
    assert "1 shards without a single sample" in refusal(parse, capsys, arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no keywords"),
        ("# only a comment\n\n", "no keywords"),
        ("tree\nriver\nTree.\n", "duplicate keyword: line 1 ('tree') and line 3 ('Tree.')"),
        ("tree\n--\n", "line 2 ('--') has no letter or digit"),
    ],
)
def test_keyword_files(text, message, parse, capsys, shards, tmp_path):
    (tmp_path / "k.txt").write_text(text)
    arguments = train_arguments(shards, "RN50", tmp_path, keywords=tmp_path / "k.txt")
    assert message in refusal(parse, capsys, arguments)


def test_a_keyword_longer_than_the_context(shards, tiny_model):
    import open_clip

    from sclip_plugin.errors import DataError
    from sclip_plugin.keywords import Vocabulary
    from sclip_plugin.training.keyword_tokens import keyword_tokens

    tokenizer = open_clip.get_tokenizer(tiny_model)
    fits = " ".join(["tree"] * 14)  # 14 words + start + end = the context's 16
    assert keyword_tokens(Vocabulary([fits]), "{}", tokenizer, "k.txt").shape == (1, 16)
    with pytest.raises(DataError, match=r"k\.txt: 'tree .* is longer than the model's context of 16 tokens"):
        keyword_tokens(Vocabulary(["tree", fits + " tree"]), "{}", tokenizer, "k.txt")
    with pytest.raises(DataError, match="longer than the model's context"):
        keyword_tokens(Vocabulary([fits]), "a {}", tokenizer, "k.txt")


def test_defaults_are_filled_in(parse, shards, tmp_path):
    args = parse(train_arguments(shards, "RN50", tmp_path, lock_text=True, keywords=None, keyword_path=None))
    assert (args.unpaired_batch_size, args.sclip_pseudo_label, args.sclip_sinkhorn_iterations) == (8, "ot-image", 10)
    assert (args.sclip_caption_weight, args.sclip_keyword_weight, args.sclip_epsilon) == (0.5, 0.5, None)
    assert args.lock_text_freeze_layer_norm
    stock = parse(["--train-data", "x.tar", "--loss-dist-impl", "gather"])
    assert (stock.loss, stock.loss_dist_impl) == ("clip", "gather")


def test_keyword_path_is_the_same_flag(parse, shards, tmp_path):
    path = str(shards / "keywords.txt")
    args = parse(train_arguments(shards, "RN50", tmp_path, keywords=None, keyword_path=path))
    assert args.keywords == path
    from sclip_plugin.host import openclip3

    assert len(openclip3.sclip.run.vocabulary) == 5


def test_unpaired_fewer_than_paired_is_fine(parse, shards, tmp_path):
    write_shards(tmp_path / "few", 3, 1, captions=False)
    parse(train_arguments(shards, "RN50", tmp_path, unpaired_data=tmp_path / "few"))
    from sclip_plugin.host import openclip3

    assert openclip3.sclip.run.config.unpaired.total == 3


def test_a_start_model_that_cannot_be_loaded_is_refused(parse, capsys, shards, tmp_path):
    """open_clip checks neither the folder nor the weights, and may run what is in a pickle with torch below 2.6."""
    for name, content, message in (
        ("open_clip_config.json", "{", "not a model's configuration"),
        ("open_clip_config.json", '{"model_cfg": 3}', "model_cfg must be an object, got 3"),
        ("open_clip_pytorch_model.bin", "junk", "damaged, or holds more than tensors, and is not loaded"),
    ):
        folder = tmp_path / name / message[:5]
        write_model(folder)
        (folder / name).write_text(content)
        said = refusal(parse, capsys, train_arguments(shards, f"local-dir:{folder}", tmp_path))
        assert message in said
        assert str(folder) in said
    (tmp_path / "w.pt").write_bytes(b"")
    said = refusal(parse, capsys, train_arguments(shards, "ViT-B-32", tmp_path, pretrained=tmp_path / "w.pt"))
    assert f"--pretrained {tmp_path / 'w.pt'}: empty file" in said


@pytest.mark.parametrize("seed", [10**30, -1])
def test_a_seed_that_numpy_does_not_take_is_refused(parse, capsys, shards, tiny_model, tmp_path, seed):
    said = refusal(parse, capsys, train_arguments(shards, tiny_model, tmp_path, seed=seed))
    assert f"--seed must be from 0 to 2147483647, got {seed}" in said
