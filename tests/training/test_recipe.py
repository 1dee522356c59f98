"""Real runs with the start model as the teacher: what is set, equal on ranks, resumed as unbroken, unlike the paper."""

import re

import pytest

from tests.evaluation.sets import model_with_weights
from tests.helpers.training import losses, run_training, totals, train_arguments, trained

pytestmark = pytest.mark.slow

TRUSTED = {"sclip_recipe": "trusted"}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A start model with weights: without any, each process would make up its own."""
    return model_with_weights(tmp_path_factory.mktemp("start"), seed=3)


@pytest.fixture(scope="module")
def unbroken(shards, start, tmp_path_factory):
    """What a run of three epochs says, and its logs."""
    logs = tmp_path_factory.mktemp("unbroken")
    return trained(shards, start, logs, epochs=3, report_to="tensorboard", **TRUSTED), logs


def test_the_recipe_sets_its_flags_and_says_so(unbroken):
    output, logs = unbroken
    assert len(losses(output)) == 15  # 3 epochs of 5 steps: no line stands twice
    assert set(losses(output)[0]) == {"Contrastive_loss", "Caption_loss", "Keyword_loss", "Pair_keyword_loss", "Loss"}
    assert "teacher=start support=pairs trust=all pair-keyword-weight=0.1" in output
    assert "60 unpaired images labelled by the start model, trust all: mean 1.00" in output
    events = "".join(path.read_bytes().decode("latin-1") for path in (logs / "run").rglob("events*"))
    assert events.count("sclip/panel") == 1  # once: the labels stay as they are
    assert "sclip/trust curve" not in events  # there is no curve
    assert (logs / "run" / "sclip-labels.npz").exists()
    params = (logs / "run" / "params.txt").read_text()
    for line in ("sclip_support: pairs", "sclip_candidates: plan", "sclip_keyword_weight: 0.25"):
        assert line in params


def test_a_run_that_goes_on_is_as_an_unbroken_one(unbroken, shards, start, tmp_path):
    whole = totals(unbroken[0])
    first = trained(shards, start, tmp_path, epochs=3, skip_scheduler=True, **TRUSTED)
    checkpoints = tmp_path / "run" / "checkpoints"
    for epoch in (2, 3):
        (checkpoints / f"epoch_{epoch}.pt").unlink()
    resumed = trained(shards, start, tmp_path, epochs=3, skip_scheduler=True, resume="latest", **TRUSTED)
    assert totals(resumed) == totals(first)[5:]
    assert totals(first) != whole  # the schedule differs, so that the comparison is no accident
    (tmp_path / "run" / "sclip-labels.npz").unlink()
    arguments = train_arguments(shards, start, tmp_path, epochs=4, skip_scheduler=True, resume="latest", **TRUSTED)
    lost = run_training(arguments)
    assert lost.returncode == 1
    assert "sclip-labels.npz: not there; without the start model's labels the run cannot go on" in lost.stdout
    assert "Traceback" not in lost.stdout


@pytest.mark.parametrize(
    "flags",
    [
        {"batch_size": 20, "unpaired_batch_size": 30},
        {"batch_size": 10, "unpaired_batch_size": 15, "local_loss": True, "accum_freq": 2},
    ],
    ids=["gathered", "local-accumulated"],
)
def test_two_ranks_train_as_one(flags, shards, start, tmp_path):
    """Every step sees all pairs and all images, uncropped."""
    common = {
        **TRUSTED,
        "epochs": 4,
        "lr": 0.05,
        "eps": 0.1,
        "wd": 0,
        "gather_with_grad": True,
        "sclip_trust": "calibrated",
    }

    def curve(processes, folder, **sizes):
        arguments = train_arguments(shards, start, tmp_path / folder, **common, **sizes)
        run = run_training([*arguments, "--aug-cfg", "scale=(1.0,1.0)"], processes)
        assert run.returncode == 0, run.stdout[-3000:]
        return losses(run.stdout)

    expected = curve(1, "one", batch_size=40, unpaired_batch_size=60)
    found = curve(2, "two", **flags)
    assert len(found) == len(expected) == 4
    names = ["Loss"] if "local_loss" not in flags else []  # there the first rank logs its own rows' part
    for name in names:
        assert [row[name] for row in found] == pytest.approx([row[name] for row in expected], rel=1e-4)
    from tests.training.test_training_ranks import weights

    first, last = weights(tmp_path / "one", 1), weights(tmp_path / "one", 4)
    for name, tensor in weights(tmp_path / "two", 4).items():
        moved = (last[name] - first[name]).abs().max()
        assert (tensor - last[name]).abs().max() <= 2e-3 * moved, name


@pytest.mark.parametrize(
    "flags",
    [
        {"sclip_recipe": "paper"},
        {**TRUSTED, "sclip_trust": "calibrated"},
        {**TRUSTED, "sclip_trust": "threshold", "sclip_trust_threshold": 0.99},
        {**TRUSTED, "sclip_candidates": "nearest"},
        {**TRUSTED, "sclip_unpaired_negatives": False},
        {**TRUSTED, "sclip_pair_keyword_weight": 0.5},
        {**TRUSTED, "keywords": None},
    ],
    ids=lambda flags: "-".join(map(str, flags.values())),
)
def test_each_setting_differs_from_the_recipe(flags, unbroken, shards, start, tmp_path):
    flags = dict(flags)
    more = ["--no-sclip-unpaired-negatives"] if flags.pop("sclip_unpaired_negatives", True) is False else []
    run = run_training([*train_arguments(shards, start, tmp_path, **flags), *more])
    assert run.returncode == 0, run.stdout[-3000:]
    assert totals(run.stdout)[0] != totals(unbroken[0])[0]
    if flags.get("sclip_trust") == "calibrated":
        assert re.search(r"trust calibrated: mean 0\.\d\d; cosine → probability that a caption fits: ", run.stdout)
    if flags.get("sclip_trust") == "threshold":
        assert re.search(r"trust threshold: mean \d\.\d\d, \d+ of them labelled at all", run.stdout)


def test_a_vocabulary_that_the_pairs_speak_against_is_told_of_once(shards, start, tmp_path, unbroken):
    (tmp_path / "words.txt").write_text("tree\nriver\nzebra\nlion\n")
    flags = {**TRUSTED, "keywords": tmp_path / "words.txt", "sclip_trust": "calibrated", "report_to": "tensorboard"}
    output = trained(shards, start, tmp_path, processes=2, batch_size=8, unpaired_batch_size=8, **flags)
    told = re.findall(r"sclip_plugin: (\d) of 4 keywords do not help, as 40 pairs say \((.*)\): let `sclip key", output)
    assert len(told) == 1
    assert int(told[0][0]) >= 2
    assert "no caption holds it × 2" in told[0][1]
    events = "".join(path.read_bytes().decode("latin-1") for path in (tmp_path / "run").rglob("events*"))
    assert events.count("sclip/trust curve") == 1
