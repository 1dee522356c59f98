"""Whole runs of open_clip's training command with the plugin, as a user starts them."""

import json
import re
import subprocess
import sys

import pytest

from tests.helpers.hosts import VERSION
from tests.helpers.sets import write_classification_set, write_retrieval_set
from tests.helpers.training import losses, run_training, train_arguments


def test_trains_with_three_losses_and_a_checkpoint_that_stock_open_clip_loads(shards, tiny_model, tmp_path):
    arguments = train_arguments(shards, tiny_model, tmp_path, report_to="tensorboard", epochs=2, workers=2)
    run = run_training(arguments, processes=2)
    assert run.returncode == 0, run.stdout[-3000:]
    rows = losses(run.stdout)
    assert len(rows) == 6  # ceil(40 / 16) = 3 steps an epoch
    assert set(rows[0]) == {"Contrastive_loss", "Caption_loss", "Keyword_loss", "Loss"}
    assert rows[-1]["Loss"] < rows[0]["Loss"]
    assert "active by import hook: B=8 U=8 K=5 pseudo-label=ot-image" in run.stdout
    assert "read 48 pairs, 48 unpaired images" in run.stdout

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    for name in ("contrastive_loss", "caption_loss", "keyword_loss"):
        assert len(events.Scalars(f"train/{name}")) == 6
    for name in ("label_entropy", "captions_used", "marginal_error", "without_candidates", "keyword_confidence"):
        assert [event.step for event in events.Scalars(f"sclip/{name}")] == [0, 1, 2, 3, 4, 5]
    assert [event.step for event in events.Images("sclip/panel")] == [1, 2]

    checkpoint = tmp_path / "run" / "checkpoints" / "epoch_2.pt"
    script = (
        "import open_clip, torch, sys; assert 'sclip_plugin.training.run' not in sys.modules\n"
        f"model = open_clip.create_model({tiny_model!r})\n"
        f"open_clip.load_checkpoint(model, {str(checkpoint)!r}, strict=True)\n"
        f"saved = torch.load({str(checkpoint)!r}, weights_only=True)['state_dict']\n"
        "assert {k.removeprefix('module.') for k in saved} == set(model.state_dict())\n"
        "print('equal', all(torch.equal(v, model.state_dict()[k.removeprefix('module.')]) for k, v in saved.items()))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], env={"SCLIP_PLUGIN_DISABLE": "1", "PATH": ""}, capture_output=True, text=True
    )
    assert "equal True" in loaded.stdout, loaded.stderr


# open_clip 3.0.0 can lock text towers of Hugging Face only, not its own.
LOCK_TEXT = None if VERSION == "3.0.0" else True


@pytest.mark.parametrize(
    "flags",
    [
        {"accum_freq": 2, "batch_size": 4, "workers": 0},
        {"lock_text": LOCK_TEXT, "lock_image": True, "grad_checkpointing": True},
        {"precision": "amp_bf16", "batch_size": 7, "workers": 3},
        {"keywords": None, "dataset_resampled": True, "unpaired_batch_size": 12},
        {"sclip_pseudo_label": "hard-text", "sclip_keyword_targets": "uniform", "keyword_template": "a photo of {}"},
    ],
    ids=lambda flags: "-".join(flags),
)
def test_trains_with(flags, shards, tiny_model, tmp_path):
    run = run_training(train_arguments(shards, tiny_model, tmp_path, **flags))
    assert run.returncode == 0, run.stdout[-3000:]
    rows = losses(run.stdout)
    assert rows
    assert ("Keyword_loss" in rows[0]) == ("keywords" not in flags)


@pytest.mark.parametrize(("processes", "flags"), [(2, {}), (1, {"accum_freq": 2, "batch_size": 4})])
def test_trains_on_the_keywords_of_pairs_without_unpaired_images(processes, flags, shards, tiny_model, tmp_path):
    flags = {"unpaired_data": None, "sclip_pair_keyword_weight": 1, "epochs": 2, **flags}
    run = run_training(train_arguments(shards, tiny_model, tmp_path, report_to="tensorboard", **flags), processes)
    assert run.returncode == 0, run.stdout[-3000:]
    rows = losses(run.stdout)
    assert set(rows[0]) == {"Contrastive_loss", "Pair_keyword_loss", "Loss"}
    assert rows[-1]["Pair_keyword_loss"] < rows[0]["Pair_keyword_loss"]
    assert "U=0 K=5 no unpaired images pair-keyword-weight=1" in run.stdout
    assert re.search(r"read \d+ pairs\n", run.stdout)


def test_trains_with_four_losses(shards, tiny_model, tmp_path):
    run = run_training(train_arguments(shards, tiny_model, tmp_path, sclip_pair_keyword_weight=0.5))
    assert run.returncode == 0, run.stdout[-3000:]
    wanted = {"Contrastive_loss", "Caption_loss", "Keyword_loss", "Pair_keyword_loss", "Loss"}
    assert set(losses(run.stdout)[0]) == wanted


SPY = """
import random, runpy, types
import torch, open_clip.loss, webdataset.filters
class Pinned(random.Random):  # webdataset seeds its sample shuffle from pid and time
    def __init__(self, *seed): super().__init__(7)
webdataset.filters.random = types.SimpleNamespace(Random=Pinned)
init = open_clip.loss.ClipLoss.__init__
def spy(self, *args, **kwargs):
    print("BUILT", type(self).__name__)
    init(self, *args, **kwargs)
open_clip.loss.ClipLoss.__init__ = spy
runpy.run_module("open_clip_train.main", run_name="__main__")
"""


def test_without_the_flag_the_stock_loss_and_losses(shards, tiny_model, tmp_path):
    (tmp_path / "spy.py").write_text(SPY)
    stock = {"loss": None, "unpaired_data": None, "keywords": None, "workers": 0, "epochs": 2}
    stock["train_data"] = str(shards / "paired" / "{000000..000003}.tar")
    outputs = []
    for name, disable in (("with", "0"), ("without", "1")):
        arguments = train_arguments(shards, tiny_model, tmp_path / name, **stock)
        environment = {"SCLIP_PLUGIN_DISABLE": disable, "PYTHONPATH": str(tmp_path)}
        run = run_training(arguments, module="spy", env=environment)
        assert run.returncode == 0, run.stdout[-3000:]
        assert re.findall("BUILT (.*)", run.stdout) == ["ClipLoss"]
        outputs.append(losses(run.stdout))
    assert len(outputs[0]) == 10
    assert outputs[0] == outputs[1]
    arguments = train_arguments(shards, tiny_model, tmp_path / "sclip", workers=0)
    run = run_training(arguments, module="spy", env={"PYTHONPATH": str(tmp_path)})
    assert re.findall("BUILT (.*)", run.stdout) == ["SClipLoss"]


def test_skipped_samples_are_counted_and_training_goes_on(tiny_model, tmp_path):
    from tests.helpers.shards import picture, write_shards, write_tar

    members = []
    for i in range(20):
        members += [(f"p{i:02d}.png", picture(i)), (f"p{i:02d}.txt", f"a tree {i}".encode())]
    members[1] = ("p00.txt", b"   ")  # empty caption
    del members[3]  # p01 has no caption
    members[3] = ("p02.png", picture(2)[:60])  # truncated image
    write_tar(tmp_path / "paired" / "000000.tar", members)
    write_shards(tmp_path / "unpaired", 30, 2, captions=False)
    broken = tmp_path / "unpaired" / "000001.tar"
    broken.write_bytes(broken.read_bytes()[:5000])
    (tmp_path / "keywords.txt").write_text("zebra\n")
    run = run_training(train_arguments(tmp_path, tiny_model, tmp_path / "logs", batch_size=4, workers=2))
    assert run.returncode == 0, run.stdout[-3000:]
    assert len(losses(run.stdout)) == 5
    for reason in ("paired: empty caption", "paired: no caption", "paired: undecodable image"):
        assert re.search(rf"skipped samples: .*{reason} × \d", run.stdout), reason
    assert re.search(r"unpaired: (unreadable|missing from) shard × \d", run.stdout)
    assert "100% of the captions read hold none of the keywords" in run.stdout
    assert "100% of the unpaired images have no candidate keyword" in run.stdout  # after five logged steps


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("resampled", [None, True])
def test_a_set_without_usable_samples_ends_with_what_was_found(workers, resampled, shards, tiny_model, tmp_path):
    from tests.helpers.shards import write_shards

    write_shards(tmp_path / "paired", 40, 2, captions=False)
    arguments = train_arguments(
        shards,
        tiny_model,
        tmp_path / "logs",
        train_data=str(tmp_path / "paired"),
        workers=workers,
        dataset_resampled=resampled,
    )
    run = run_training(arguments)
    assert run.returncode == 1
    found = r"--train-data: no usable sample in a whole pass over 2 shards; found \d+ × no caption"
    assert re.search(found, run.stdout), run.stdout[-2000:]
    assert "a caption (.txt)" in run.stdout


def results(folder) -> list[dict]:
    path = folder / "run" / "checkpoints" / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_evaluates_its_own_sets_on_stock_schedule(shards, tiny_model, tmp_path):
    val = write_retrieval_set(tmp_path / "val", 9)
    things = write_classification_set(tmp_path / "things", 8)
    run = run_training(
        train_arguments(
            shards, tiny_model, tmp_path, val_data=val, zeroshot_data=f"things={things}", epochs=3, batch_size=20
        )
    )
    assert run.returncode == 0, run.stdout[-3000:]
    rows = results(tmp_path)
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]  # 0: the start model
    for row in rows:
        assert 0 <= row["text_retrieval_recall@1"] <= row["text_retrieval_recall@10"] <= 1
        assert row["image_retrieval_recall@1"] < row["image_retrieval_recall@10"] == 1  # of nine images
        assert 0 < row["clip_val_loss"] < 10
    assert ["things/acc1" in row for row in rows] == [True, False, True, True]  # every 2 epochs, and the last
    assert rows[-1]["things/acc5"] == 1.0


def test_zeroshot_data_beside_stock_validation_shards(shards, tiny_model, tmp_path):
    things = write_classification_set(tmp_path / "things", 8)
    stock = shards / "paired" / "000000.tar"
    run = run_training(
        train_arguments(shards, tiny_model, tmp_path, val_data=stock, zeroshot_data=f"things={things}", batch_size=20)
    )
    assert run.returncode == 0, run.stdout[-3000:]
    stock_start, start, stock_row, ours = results(tmp_path)
    assert (stock_start["epoch"], start["epoch"]) == (0, 0)
    assert stock_start.keys() == stock_row.keys()
    assert "clip_val_loss" in stock_row
    assert set(start) == set(ours) == {"things/acc1", "things/acc5", "things/mean_per_class_recall", "epoch"}
