"""Real trainings of two processes (torchrun, gloo) with shards on an S3 server, and what bad weather does to them."""

import pytest
import torch

from tests.helpers.sets import write_classification_set, write_retrieval_set
from tests.helpers.stores import BUCKET, Weather, in_between, upload
from tests.helpers.training import losses, run_training, train_arguments
from tests.storage.conftest import point_to

pytestmark = pytest.mark.slow

IMPATIENT = """
import runpy, sys
from sclip_plugin.storage import patience
patience.ANSWER_SECONDS, patience.PAUSES = 1.0, (0.1,) * 6
sys.argv[0] = "impatient"
runpy.run_module("open_clip_train.main", run_name="__main__")
"""


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A retrieval set val/ and a classification set aid/."""
    root = tmp_path_factory.mktemp("sets")
    write_retrieval_set(root / "val", 6)
    write_classification_set(root / "aid", 6)
    return root


def arguments(data, sets, model, logs, **flags):
    places = {"train_data": f"{data}/paired", "unpaired_data": f"{data}/unpaired", "keywords": f"{data}/keywords.txt"}
    evaluated = {"val_data": f"{sets}/val", "zeroshot_data": f"aid={sets}/aid", "zeroshot_frequency": 2}
    return train_arguments(logs, model, logs, **{**places, **evaluated, "epochs": 2, "batch_size": 4, **flags})


def result(run, logs):
    """(losses, lines of evaluation, weights) of a training."""
    assert run.returncode == 0, run.stdout[-3000:]
    evaluations = [line.partition("sclip_plugin: ")[2] for line in run.stdout.splitlines() if "evaluation" in line]
    saved = torch.load(logs / "run" / "checkpoints" / "epoch_2.pt", weights_only=True)
    return losses(run.stdout), evaluations, saved["state_dict"]


@pytest.fixture(scope="module")
def local(shards, sets, tiny_model, tmp_path_factory):
    """The result of the training on the shards of the disk."""
    logs = tmp_path_factory.mktemp("local")
    return result(run_training(arguments(shards, sets, tiny_model, logs), 2), logs)


def same(found, expected):
    assert found[:2] == expected[:2]
    assert len(found[0]) == 10
    assert len(found[1]) >= 2
    return all(torch.equal(found[2][name], tensor) for name, tensor in expected[2].items())


@pytest.fixture
def weather(s3, s3_endpoint, sets, tmp_path, monkeypatch):
    """What a server between the trainings and the store does; they wait a second for an answer."""
    upload(sets, f"s3://{BUCKET}/sets")
    (tmp_path / "impatient.py").write_text(IMPATIENT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    found = Weather()
    with in_between(s3_endpoint, found) as endpoint:
        point_to(endpoint, monkeypatch)
        yield found


def test_training_from_a_store_is_the_same_to_the_bit(local, weather, s3, tiny_model, tmp_path):
    run = run_training(arguments(s3, f"s3://{BUCKET}/sets", tiny_model, tmp_path / "logs"), 2)
    assert same(result(run, tmp_path / "logs"), local)
    assert "the store of the shards" not in run.stdout
    assert weather.seen["clear"] > 10


def test_training_goes_on_through_bad_weather(local, weather, s3, tiny_model, tmp_path):
    weather.clear, weather.silent, weather.busy, weather.cut = 4, 2, 6, 2
    run = run_training(arguments(s3, f"s3://{BUCKET}/sets", tiny_model, tmp_path / "logs"), 2, module="impatient")
    assert same(result(run, tmp_path / "logs"), local)
    assert weather.silent == weather.busy == weather.cut == 0
    assert "no answer in 1 s; asked again in 0.1 s" in run.stdout
    assert "sclip_plugin: the store of the shards: request repeated × " in run.stdout
    assert "skipped samples" not in run.stdout


def test_training_ends_with_one_line_where_the_store_is_gone(weather, s3, tiny_model, tmp_path):
    weather.clear, weather.silent = 4, 10**6
    words = arguments(s3, f"s3://{BUCKET}/sets", tiny_model, tmp_path / "logs", val_data=None, zeroshot_data=None)
    run = run_training(words, module="impatient")
    assert run.returncode == 1
    assert "Traceback" not in run.stdout
    (last,) = [line for line in run.stdout.splitlines() if "does not answer" in line]
    assert last.partition("sclip_plugin: ")[2].startswith("s3://bucket/set/")
    assert last.endswith("the store does not answer, asked 7 times: no answer in 1 s")
