"""`sclip eval` as a command; what it measures is tested in tests/evaluation."""

import argparse
import copy
import json

import pytest

from sclip_plugin import cli
from sclip_plugin.commands import eval as command
from sclip_plugin.evaluation.names import PRECISIONS
from tests.evaluation.sets import classification_set, model_with_weights, retrieval_set


@pytest.fixture
def words(tmp_path) -> list[str]:
    """A command line without its first word."""
    sets = [
        "--zeroshot",
        f"c={classification_set(tmp_path / 'c')}",
        "--retrieval",
        f"r={retrieval_set(tmp_path / 'r')}",
    ]
    return ["--model", model_with_weights(tmp_path / "model"), *sets, "--device", "cpu"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_of_training_is_taken(words, tmp_path, precision):
    assert cli.main(["eval", *words, "--precision", precision, "--json", str(tmp_path / "o.json")]) == 0
    report = json.loads((tmp_path / "o.json").read_text())
    assert report["precision"] == precision
    assert all(0 <= value <= 1 for record in report["results"] for value in record["metrics"].values())


def test_the_parsed_arguments_stay_as_they_are(words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(words)
    before = copy.deepcopy(vars(args))
    assert command.run(args) == 0
    assert vars(args) == before
