"""`--loss clip`: the supervised baseline, which differs from the S-CLIP run of its seed in the method only."""

import json
import re

import pytest
import torch

from sclip_plugin.host import openclip3
from tests.helpers.hosts import patched_copy
from tests.helpers.sets import write_classification_set, write_retrieval_set
from tests.helpers.training import run_training, train_arguments
from tests.training.test_training import SPY, losses

METHOD = {"unpaired_data": None, "keywords": None}  # the flags that belong to S-CLIP


@pytest.fixture
def parse():
    import torch  # noqa: F401 (activates the plugin)
    from open_clip_train.params import parse_args

    return parse_args


def epochs(parse, arguments):
    """[(pixels of the pairs, tokens)] of each step of two epochs, as the run that the arguments ask for reads them."""
    from open_clip import SimpleTokenizer
    from open_clip.transform import image_transform

    parse(arguments)
    transform = image_transform(32, is_train=True, aug_cfg={"scale": (0.2, 1.0)})
    loader = openclip3.sclip.run.build_loader(transform, SimpleTokenizer(context_length=16))
    for epoch in (0, 1):
        loader.shared_epoch.set_value(epoch)
        for images, texts in loader:
            if isinstance(images, torch.Tensor):
                yield images, texts
            else:
                yield images.pixels[: images.num_paired], texts.tokens


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("seed", [0, 3])
def test_the_arms_of_a_seed_see_the_same_pairs_captions_and_crops_in_the_same_order(
    workers, seed, parse, several_captions, tiny_model, tmp_path
):
    common = {"workers": workers, "seed": seed, "batch_size": 8}
    sclip = list(epochs(parse, train_arguments(several_captions, tiny_model, tmp_path, **common)))
    clip = train_arguments(several_captions, tiny_model, tmp_path, loss="clip", **common, **METHOD)
    supervised = list(epochs(parse, clip))
    assert len(sclip) == len(supervised) == 10
    for (pixels, tokens), (other_pixels, other_tokens) in zip(sclip, supervised):
        assert torch.equal(tokens, other_tokens)
        assert torch.equal(pixels, other_pixels)
    control = {"unpaired_data": None, "sclip_pair_keyword_weight": 1}
    keyed = list(epochs(parse, train_arguments(several_captions, tiny_model, tmp_path, **common, **control)))
    for (pixels, tokens), (other_pixels, other_tokens) in zip(keyed, supervised, strict=True):
        assert torch.equal(tokens, other_tokens)
        assert torch.equal(pixels, other_pixels)
    other_seed = list(epochs(parse, [*clip, "--seed", str(seed + 1)]))
    assert not torch.equal(other_seed[0][1], supervised[0][1])


@pytest.fixture(scope="module")
def several_captions(tmp_path_factory, shards):
    """Shards as `sclip convert` writes them: three captions an image in `.json`, one of them in `.txt`."""
    import shutil

    from tests.helpers.shards import picture, write_tar

    root = tmp_path_factory.mktemp("several")
    members = []
    for i in range(40):
        captions = [f"a {word} number {i}" for word in ("tree", "river", "park")]
        members += [(f"s{i}.png", picture(i)), (f"s{i}.txt", captions[0].encode())]
        members += [(f"s{i}.json", json.dumps({"captions": captions}).encode())]
    write_tar(root / "paired" / "000000.tar", members)
    shutil.copytree(shards / "unpaired", root / "unpaired")
    shutil.copy(shards / "keywords.txt", root)
    return root


def test_all_captions_of_an_image_are_drawn(parse, several_captions, tiny_model, tmp_path):
    arguments = train_arguments(several_captions, tiny_model, tmp_path, loss="clip", **METHOD)
    seen = {tuple(row.tolist()) for _, tokens in epochs(parse, arguments) for row in tokens}
    assert len(seen) > 50  # of 40 images; stock's loader knows one caption of each


@pytest.mark.parametrize("processes", [1, 2])
def test_trains_opens_clips_own_loss_and_evaluates_the_same_sets(processes, several_captions, tiny_model, tmp_path):
    (tmp_path / "spy.py").write_text(SPY)
    sets = {
        "val_data": write_retrieval_set(tmp_path / "val", 6),
        "zeroshot_data": f"things={write_classification_set(tmp_path / 'things', 6)}",
        "zeroshot_frequency": 1,
    }
    logs = tmp_path / "logs"
    arguments = train_arguments(several_captions, tiny_model, logs, loss="clip", epochs=2, **METHOD, **sets)
    run = run_training(arguments, processes, module="spy", env={"PYTHONPATH": str(tmp_path)})
    assert run.returncode == 0, run.stdout[-3000:]
    assert set(re.findall("BUILT (.*)", run.stdout)) == {"ClipLoss"}
    assert "supervised: open_clip's own loss on the pairs alone" in run.stdout
    assert re.search(r"sclip_plugin: read \d+ pairs\n", run.stdout)
    assert len(losses(run.stdout)) == 2 * -(-40 // (8 * processes))
    rows = [json.loads(line) for line in (logs / "run" / "checkpoints" / "results.jsonl").read_text().splitlines()]
    assert {"things/acc1", "image_retrieval_recall@1", "clip_val_loss"} <= set().union(*rows)
    assert re.search(r"^loss: clip$", (logs / "run" / "params.txt").read_text(), re.MULTILINE)


def test_on_a_patched_host_too(several_captions, tiny_model, tmp_path):
    host = patched_copy(tmp_path / "host", importable=True)
    logs = {}
    for name, path in (("stock", ""), ("patched", str(host))):
        arguments = train_arguments(several_captions, tiny_model, tmp_path / name, loss="clip", workers=0, **METHOD)
        run = run_training(arguments, env={"PYTHONPATH": path})
        assert run.returncode == 0, run.stdout[-3000:]
        logs[name] = losses(run.stdout)
        assert re.search(r"^loss: clip$", (tmp_path / name / "run" / "params.txt").read_text(), re.MULTILINE)
    assert logs["stock"] == logs["patched"]
    assert logs["stock"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"siglip": True}, "--siglip does not work with --loss clip; without --loss open_clip trains as ever"),
        ({"keywords": "k.txt"}, "--keywords: only with --loss sclip"),
        ({"unpaired_data": "u"}, "--unpaired-data: only with --loss sclip"),
        ({"sclip_draft_jpeg": True}, "--sclip-draft-jpeg: only with --loss sclip"),
        ({"sclip_fast_resize": True}, "--sclip-fast-resize: only with --loss sclip"),
        ({"train_data": None}, "--loss clip needs --train-data"),
        ({"train_data": "x.csv"}, "--train-data x.csv: csv data does not work with --loss clip"),
        ({"loss": None, "zeroshot_data": "a=b"}, "--zeroshot-data: only with --loss sclip or --loss clip"),
        ({"batch_size": 64}, "--train-data holds 40 pairs, fewer than one global batch of 64"),
    ],
    ids=str,
)
def test_what_the_baseline_refuses(flags, message, parse, capsys, shards, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        parse(train_arguments(shards, "RN50", tmp_path, **{"loss": "clip", **METHOD, **flags}))
    assert message in capsys.readouterr().err
