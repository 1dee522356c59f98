"""Study files, numbers and records of a study that hold what they should not: one line each, never a traceback."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from sclip_plugin import cli
from sclip_plugin import toml as reader
from sclip_plugin.commands.study import collect, spec, steps, trust
from sclip_plugin.commands.study.folder import Folder
from sclip_plugin.errors import DataError, SClipError
from tests.commands.study.test_spec import SMALL

LONG = "1" + 30 * "0"
VALUES = (
    *("3", "-1", LONG, "true", "1e400", "nan", '""', '"x"', r'"a\u0000b"', '"$"', '"$out"', "[]", "[[]]", '[1, "x"]'),
    *("{}", "{a = {b = [1]}}", "1979-05-27", '[["a"]]', "[[1, 2]]", '[[["a"], "b"]]', "[{run = 3}]", "[{}]"),
    *('[{run = "sclip", makes = [3]}]', r'[{run = "sclip \u0000"}]', r'"\u2028"'),
)
KEYS = (
    *("title", "about", "base", "baseline", "processes", "threads", "steps", "seeds", "compare", "prepare"),
    *("variables", "train", "train-sclip", "evaluate", "arms", "arms.a", "arms.a.loss", "arms.a.steps", "arms.a.title"),
    *("arms.a.paired-share", "arms.a.model", "arms.a.train-data", "arms.a.batch-size", "arms.a.epochs"),
    *("arms.a.train-num-samples", "evaluate.points", "evaluate.bootstrap", "evaluate.zeroshot", "evaluate.zeroshot.s"),
    *("variables.early", "evaluate.x"),
)


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {toml(one)}' for key, one in value.items()) + "}"
    if isinstance(value, Written):
        return value
    if isinstance(value, list):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    return json.dumps(value)


class Written(str):
    """A value as it stands in the file."""


@pytest.mark.parametrize("key", KEYS)
def test_every_key_with_every_type(tmp_path, key):
    """A study is read, or refused in one line that names the file; what is read can be planned or refused."""
    whole = reader.tomllib.loads(SMALL)
    whole["train"] |= {"train-data": str(tmp_path / "{0..3}.tar"), "epochs": 1}
    file = tmp_path / "s.toml"
    for value in VALUES:
        table = found = copy.deepcopy(whole)
        *path, last = key.split(".")
        for part in path:
            found = found.setdefault(part, {})
        found[last] = Written(value)
        file.write_text("\n".join(f"{name} = {toml(one)}" for name, one in table.items()))
        study = said = None
        try:
            study = spec.load(file, tmp_path / "o")
        except DataError as error:
            said = str(error)
        if study is not None:
            plan(study, tmp_path / "o")
        else:
            assert "s.toml: " in said or "no study" in said, value


def plan(study: spec.Study, out: Path) -> None:
    for run in steps.runs(study):
        try:
            steps.train_step(study, run, out)
            assert len(steps.checkpoints(study, run, out)) >= 1
        except SClipError:
            pass
    list(trust.commands(study))
    steps.prepare_steps(study)
    steps.start_steps(study, out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["study", "demo", "--seeds", LONG], "--seeds must be different whole numbers from 0 to 2147483647"),
        (["study", "demo", "--seeds", "1" * 5000], "--seeds must be whole numbers separated by commas"),
        (["study", "demo", "--seeds=-1"], "--seeds must be different whole numbers from 0 to 2147483647"),
        (["study", "demo", "--seeds", "1,1"], "--seeds must be different whole numbers from 0 to 2147483647"),
        (["study", "demo", "--jobs", LONG], "--jobs must be at most 1000"),
        (["demo", "--seeds", LONG], "--seeds must be at most 1000"),
        (["demo", "--steps", LONG], "--steps must be at most 1000000"),
        (["demo", "--jobs", LONG], "--jobs must be at most 1000"),
    ],
)
def test_numbers_without_end_are_refused(tmp_path, capsys, words, message):
    assert cli.main([*words, "--out", str(tmp_path / "o")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert len(said) < 300
    assert not (tmp_path / "o").exists()


DAMAGE = ("", "{", "[]", "3", "null", "[" * 100_000, '{"seconds": "x"}', "\xff")
WRONG = (
    '{"pretrained": ["x"], "results": 3}',
    '{"pretrained": [], "results": []}',
    '{"pretrained": "x", "results": [{"dataset": "d", "metrics": {}, "counts": {"images": 3}}]}',
    '{"pretrained": "epoch_1.pt", "results": [{"dataset": "d", "metrics": {"acc1": "x"}, "counts": {"images": 3}}]}',
    '{"pretrained": "epoch_1.pt", "results": [{"dataset": "d", "metrics": {}, "counts": 3}]}',
)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_marker_is_none(file, tmp_path, damage):
    study, out = spec.load(file, tmp_path / "o"), tmp_path / "o"
    step = steps.train_step(study, steps.runs(study)[0], out)
    folder = Folder(out)
    folder.marker(step).parent.mkdir(parents=True)
    folder.marker(step).write_bytes(damage.encode("latin-1"))
    for product in step.products:
        product.mkdir(parents=True)
    assert not folder.finished(step)
    assert folder.seconds(step.name) is None


@pytest.mark.parametrize("damage", [*DAMAGE, *WRONG])
def test_damaged_results_are_named(file, tmp_path, damage):
    (tmp_path / "o" / "results").mkdir(parents=True)
    (tmp_path / "o" / "runs" / "plain-4").mkdir(parents=True)
    result = tmp_path / "o" / "results" / "plain-4.json"
    result.write_bytes(damage.encode("latin-1"))
    with pytest.raises(DataError, match=r"plain-4\.json: damaged; remove it, and run the study again"):
        collect.read(spec.load(file, tmp_path / "o"), tmp_path / "o", "plain-4")


def test_results_of_another_set_and_damaged_ranks_are_named(file, tmp_path):
    study, folder = spec.load(file, tmp_path / "o"), tmp_path / "o" / "results"
    folder.mkdir(parents=True)
    record = {"dataset": "things", "metrics": {"acc1": 0.5}, "counts": {"images": 3}}
    (folder / "start.json").write_text(json.dumps({"pretrained": None, "results": [record]}))
    with pytest.raises(DataError, match=r"start\.json: holds no mean_recall of val; run the study again"):
        collect.read(study, tmp_path / "o", "start")
    found = collect.RunResult("start", {}, {}, folder / "start.npz", "")
    np.savez(folder / "start.npz", other=np.zeros(3))
    for content in (None, b"", b"junk", b"PK\x03\x04junk"):
        if content is not None:
            (folder / "start.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"start\.npz: damaged"):
            found.replicates(collect.measures(study)[0], 10)
