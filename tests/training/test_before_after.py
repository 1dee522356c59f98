"""The start model is evaluated before the first step, and training ends with a table from it to the trained one."""

import json
import math
import re

import pytest

from sclip_plugin.training.before_after import BeforeAfter, Change
from tests.helpers.sets import write_classification_set, write_retrieval_set
from tests.helpers.training import losses, run_training, train_arguments


def filled(rows: dict[int, dict[str, float]]) -> BeforeAfter:
    found = BeforeAfter()
    for epoch, metrics in rows.items():
        found.add(epoch, metrics)
    return found


def test_changes_and_their_best_epochs():
    found = filled(
        {
            0: {"a/acc1": 0.2, "clip_val_loss": 3.0, "num_samples": 9, "epoch": 0},
            1: {"a/acc1": 0.5, "clip_val_loss": 2.0},
            2: {"a/acc1": 0.5, "clip_val_loss": math.nan},
            3: {"a/acc1": 0.4, "clip_val_loss": 2.5},
        }
    )
    assert found.changes(3) == [
        Change("a/acc1", 0.2, 0.4, 0.5, 1),  # of equal epochs the first
        Change("clip_val_loss", 3.0, 2.5, 2.0, 1),  # less is better, and nan is no number
    ]
    lines = found.table(3).splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["start", "epoch", "3", "change", "best", "after", "epoch"],
        ["a/acc1", "20.0", "40.0", "+20.0", "50.0", "1"],
        ["clip", "val", "loss", "3.000", "2.500", "-0.500", "2.000", "1"],
    ]
    assert lines[3:] == ["best a/acc1: after epoch 1, 50.0"]
    assert "| a/acc1 | 20.0 | 40.0 | +20.0 | 50.0 | 1 |" in found.markdown(3)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({0: 0.6, 1: 0.5, 2: 0.4}, "best a/acc1: the start model's, 60.0; training has not raised it"),
        ({0: 0.1, 1: 0.2, 2: 0.4}, "best a/acc1: after the last epoch, 40.0"),
        ({1: 0.2, 2: 0.4}, "the start model was not evaluated: the run was resumed, or no set was due then"),
    ],
)
def test_the_best_epoch_in_a_sentence(values, sentence):
    assert sentence in filled({epoch: {"a/acc1": value} for epoch, value in values.items()}).table(2).splitlines()


def test_the_mean_recall_is_shown_and_nothing_where_nothing_was_due():
    from sclip_plugin.evaluation.names import RECALLS

    found = filled({1: dict.fromkeys(RECALLS, 0.5), 2: {}})
    assert "best mean recall: after the last epoch, 50.0" in found.table(1)
    assert found.table(2) == ""


@pytest.fixture
def sets(tmp_path) -> dict:
    return {
        "val_data": write_retrieval_set(tmp_path / "val", 9),
        "zeroshot_data": f"things={write_classification_set(tmp_path / 'things', 8)}",
        "report_to": "tensorboard",
    }


def rows_of(logs) -> list[dict]:
    lines = (logs / "run" / "checkpoints" / "results.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("loss", ["sclip", "clip"])
def test_evaluating_the_start_model_leaves_training_as_it_is(processes, loss, sets, shards, tiny_model, tmp_path):
    """Patch dropout draws from torch's random state at every step."""
    flags = {"force_patch_dropout": 0.5, "workers": 0, "loss": loss}
    if loss == "clip":
        flags |= {"unpaired_data": None, "keywords": None}
    found = {}
    for name, evaluated in (("with", sets), ("without", {})):
        arguments = train_arguments(shards, tiny_model, tmp_path / name, **flags, **evaluated)
        run = run_training(arguments, processes)
        assert run.returncode == 0, run.stdout[-3000:]
        found[name] = losses(run.stdout)
        assert ("evaluation of the start model: " in run.stdout) == (name == "with")
        assert run.stdout.count("before and after training") == (1 if name == "with" else 0)
    assert found["with"] == found["without"]
    assert len(found["with"]) == -(-40 // (8 * processes))


def test_from_start_to_end_in_log_results_and_tensorboard_and_not_again_when_resumed(
    sets, shards, tiny_model, tmp_path
):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    arguments = train_arguments(shards, tiny_model, tmp_path / "logs", epochs=2, **sets)
    run = run_training(arguments)
    assert run.returncode == 0, run.stdout[-3000:]
    rows = rows_of(tmp_path / "logs")
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert "things/acc1" in rows[0]
    table = run.stdout.split("before and after training")[1]
    loss = rf"clip val loss +{rows[0]['clip_val_loss']:.3f} +{rows[2]['clip_val_loss']:.3f} "
    assert re.search(loss, table)
    assert "best mean recall: " in table
    assert "best things/acc1: " in table
    events = EventAccumulator(str(tmp_path / "logs" / "run" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("val/things/acc1")] == [0, 2]
    assert [event.step for event in events.Tensors("sclip/before and after/text_summary")] == [2]

    resumed = run_training([*arguments, "--resume", "latest", "--epochs", "3"])
    assert resumed.returncode == 0, resumed.stdout[-3000:]
    assert "evaluation of the start model" not in resumed.stdout
    rows = rows_of(tmp_path / "logs")
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    loss = rf"clip val loss +{rows[0]['clip_val_loss']:.3f} +{rows[3]['clip_val_loss']:.3f} "
    assert re.search(loss, resumed.stdout.split("before and after training")[1])
