"""Real runs with low-rank updates, and with parts of a tower unlocked: what is trained, saved, gone on from."""

import json
import re
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.evaluation.sets import model_with_weights
from tests.helpers.hosts import VERSION
from tests.helpers.sets import write_retrieval_set
from tests.helpers.training import run_training, totals, train_arguments, trained
from tests.training.test_training_ranks import SPY, weights

pytestmark = pytest.mark.slow

LORA = {"lora_rank": 4, "lr": 0.01}
SUPERVISED = {"loss": "clip", "unpaired_data": None, "keywords": None}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A start model with weights, which a run that goes on must find again."""
    return model_with_weights(tmp_path_factory.mktemp("start"), seed=3)


@pytest.fixture(scope="module")
def run(shards, start, tmp_path_factory):
    """(what a run of three epochs with the start model as the teacher said, its logs, its retrieval set)."""
    logs = tmp_path_factory.mktemp("logs")
    val = write_retrieval_set(tmp_path_factory.mktemp("sets") / "val", 9)
    flags = {**LORA, "sclip_recipe": "trusted", "epochs": 3, "lora_dropout": 0.1, "val_data": val}
    return trained(shards, start, logs, **flags), logs, flags


def test_says_what_is_trained_and_evaluates_the_start_model(run, shards, start, tmp_path):
    output, logs, flags = run
    assert re.search(r"LoRA of rank 4, alpha 4, dropout 0\.1, on 16 layers .*: 12289 numbers learn", output)
    assert totals(output)[-1] < totals(output)[0]
    trained(shards, start, tmp_path, **{**flags, "lora_rank": None, "lora_dropout": None, "epochs": 1})
    of_start = [
        json.loads((folder / "run/checkpoints/results.jsonl").read_text().splitlines()[0])
        for folder in (logs, tmp_path)
    ]
    assert of_start[0] == pytest.approx(of_start[1], abs=1e-6)
    labels = [(folder / "run/sclip-labels.npz").read_bytes() for folder in (logs, tmp_path)]
    assert labels[0] == labels[1]


def test_the_checkpoint_is_plain_and_measures_what_the_run_measured(run, start):
    """By stock open_clip in a process without the plugin, and by `sclip eval`."""
    _, logs, flags = run
    checkpoint = logs / "run/checkpoints/epoch_3.pt"
    script = (
        "import open_clip, sys, torch\n"
        f"model = open_clip.create_model({start!r}, output_dict=True)\n"
        f"open_clip.load_checkpoint(model, {str(checkpoint)!r}, strict=True)\n"
        "assert 'sclip_plugin.training.run' not in sys.modules\n"
        f"start = open_clip.create_model({start!r}).state_dict()\n"
        "print('moved', sorted(name for name, one in model.state_dict().items() if not torch.equal(one, start[name])))"
    )
    stock = subprocess.run(
        [sys.executable, "-c", script], env={"SCLIP_PLUGIN_DISABLE": "1", "PATH": ""}, capture_output=True, text=True
    )
    assert stock.returncode == 0, stock.stderr
    weights = ("attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    blocks = [f"{tower}.resblocks.{block}" for tower in ("transformer", "visual.transformer") for block in (0, 1)]
    moved = sorted(["logit_scale", *(f"{block}.{name}" for block in blocks for name in weights)])
    assert stock.stdout.strip() == f"moved {moved}"

    from sclip_plugin.cli import main

    measured = logs / "eval.json"
    assert main(["eval", str(logs / "run"), "--retrieval", f"val={flags['val_data']}", "--json", str(measured)]) == 0
    found = json.loads(measured.read_text())
    last = json.loads((logs / "run/checkpoints/results.jsonl").read_text().splitlines()[-1])
    for name in ("image_retrieval_recall@1", "text_retrieval_recall@5"):
        assert name in json.dumps(found)
        assert f'"{name}": {last[name]}' in json.dumps(found)


def test_what_comes_after_training_takes_the_run_as_any_other(run, tmp_path):
    """The point of WiSE-FT at alpha 1 is the checkpoint itself, and so is what is exported."""
    from sclip_plugin.cli import main

    _, logs, flags = run
    points = ("--alphas", "0,1", "--retrieval", f"val={flags['val_data']}")
    assert main(["wiseft", str(logs / "run"), *points, "--out", str(tmp_path / "wise.pt")]) == 0
    assert main(["export", str(logs / "run"), "--out", str(tmp_path / "model")]) == 0
    exported = load_file(tmp_path / "model" / "open_clip_model.safetensors")
    assert exported.keys() == weights(logs, 3).keys()
    for name, tensor in weights(logs, 3).items():
        assert torch.equal(tensor, exported[name]), name
    assert "--lora-rank" in (tmp_path / "model" / "README.md").read_text()


def test_a_run_that_goes_on_is_as_an_unbroken_one(run, shards, start, tmp_path):
    output, _, flags = run
    first, rest = tmp_path / "first", {**flags, "resume": "latest"}
    trained(shards, start, first, **flags)
    last = weights(first, 3)
    for epoch in (2, 3):
        (first / f"run/checkpoints/epoch_{epoch}.pt").unlink()
    resumed = trained(shards, start, first, **rest)
    assert totals(resumed) == totals(output)[5:]
    for name, tensor in weights(first, 3).items():
        assert torch.equal(tensor, last[name]), name


OTHER = "was trained with --lora-rank 4 --lora-alpha 4 on the image and text towers, and goes on with the same flags"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"lora_rank": None, "lora_dropout": None}, OTHER),
        ({"lora_rank": 8}, OTHER),
        ({"lora_alpha": 8}, OTHER),
        ({"lock_image": True}, OTHER),
        ({"model": "other"}, "adapts another start model: .* differs; give the --model and --pretrained of its run"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_goes_on_with_the_same_adapters_only(flags, message, run, shards, start, tmp_path):
    checkpoint = run[1] / "run/checkpoints/epoch_2.pt"
    flags = {**run[2], "resume": checkpoint, **flags}
    model = flags.pop("model", None)
    name = model_with_weights(tmp_path / "model", seed=4) if model else start
    done = run_training(train_arguments(shards, name, tmp_path / "logs", **flags))
    assert done.returncode, done.stdout[-2000:]
    assert re.search(f"--resume {re.escape(str(checkpoint))}: {message}", done.stdout), done.stdout[-2000:]
    assert "Traceback" not in done.stdout


def test_does_not_go_on_from_a_run_of_all_weights(shards, start, tmp_path):
    trained(shards, start, tmp_path, **SUPERVISED)
    flags = {**SUPERVISED, **LORA, "resume": tmp_path / "run/checkpoints/epoch_1.pt", "name": "other"}
    done = run_training(train_arguments(shards, start, tmp_path, **flags))
    assert done.returncode == 2
    assert "epoch_1.pt: holds no adapters to go on from; leave --lora-rank out" in done.stdout


@pytest.mark.parametrize(
    "flags",
    [
        {"batch_size": 20, "unpaired_batch_size": 30},
        {"batch_size": 10, "unpaired_batch_size": 15, "local_loss": True, "accum_freq": 2},
    ],
    ids=["gathered", "local-accumulated"],
)
def test_two_ranks_train_as_one(flags, shards, start, tmp_path):
    """Every step sees all pairs and all images, uncropped; then the two go on from a checkpoint."""
    common = {"epochs": 4, "lr": 0.05, "eps": 0.1, "wd": 0, "gather_with_grad": True, "lora_rank": 4}
    whole = ["--aug-cfg", "scale=(1.0,1.0)"]
    expected = trained(shards, start, tmp_path / "one", more=whole, batch_size=40, unpaired_batch_size=60, **common)
    found = trained(shards, start, tmp_path / "two", 2, more=whole, **flags, **common)
    if "local_loss" not in flags:  # there the first rank logs its own rows' part
        assert totals(found) == pytest.approx(totals(expected), rel=1e-4)
    first, last = weights(tmp_path / "one", 1), weights(tmp_path / "one", 4)
    for name, tensor in weights(tmp_path / "two", 4).items():
        moved = (last[name] - first[name]).abs().max()
        assert (tensor - last[name]).abs().max() <= 2e-3 * moved, name
    (tmp_path / "two/run/checkpoints/epoch_4.pt").unlink()
    resumed = trained(shards, start, tmp_path / "two", 2, more=whole, resume="latest", **flags, **common)
    assert totals(resumed) == totals(found)[-1:]


CASES = {
    "compiled amp_bf16": {"torchcompile": True, "precision": "amp_bf16"},
    "bf16 checkpointing lock-image": {"precision": "bf16", "grad_checkpointing": True, "lock_image": True},
    "supervised accumulation dropout": {**SUPERVISED, "accum_freq": 2, "batch_size": 4, "lora_dropout": 0.2},
}


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_with(name, shards, start, tmp_path):
    (tmp_path / "spy.py").write_text(SPY)
    environment = {"PYTHONPATH": str(tmp_path)}
    flags = {**LORA, "epochs": 2, **CASES[name]}
    output = trained(shards, start, tmp_path / "logs", 2, env=environment, module="spy", **flags)
    assert totals(output)[-1] < totals(output)[0]
    resumed = trained(
        shards, start, tmp_path / "on", 2, env=environment, module="spy",
        **{**flags, "resume": tmp_path / "logs/run/checkpoints/epoch_1.pt"},
    )  # fmt: skip
    assert totals(resumed) == totals(output)[len(totals(output)) // 2 :]


# open_clip 3.0.0 can lock text towers of Hugging Face only, not its own.
TEXT = {} if VERSION == "3.0.0" else {"lock_text": True, "lock_text_unlocked_layers": 1}


@pytest.mark.parametrize("loss", ["sclip", "clip"])
def test_the_unlocked_part_of_a_locked_tower_is_trained(loss, shards, start, tmp_path):
    flags = {"lock_image": True, "lock_image_unlocked_groups": 2, **TEXT, "epochs": 1}
    trained(shards, start, tmp_path, **flags, **(SUPERVISED if loss == "clip" else {}))
    from open_clip import create_model

    before, after = create_model(start).state_dict(), weights(tmp_path, 1)
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    image = {name for name in moved if name.startswith("visual.")}
    assert {name.split(".resblocks")[0] for name in image} == {
        "visual.proj", "visual.ln_post.weight", "visual.ln_post.bias", "visual.transformer",
    }  # fmt: skip
    assert not any("resblocks.0." in name for name in image)
    assert any("resblocks.1.mlp" in name for name in image)
    if TEXT:
        text = moved - image - {"logit_scale"}
        assert text
        assert not any("resblocks.0." in name or "embedding" in name for name in text)
