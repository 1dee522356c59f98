"""Whole studies of a tiny model: killed and run again, failing runs, flags that cannot work."""

import json
import os
import signal

import pytest

from sclip_plugin import cli
from sclip_plugin.atomic import write_atomic
from sclip_plugin.commands.study import check, spec, steps
from sclip_plugin.commands.study.folder import Folder, StepFailed, description
from sclip_plugin.commands.study.launchers.local import Local
from sclip_plugin.commands.study.runner import Runner
from sclip_plugin.commands.study.tasks import Training
from sclip_plugin.errors import UsageError
from tests.helpers.processes import follow
from tests.helpers.study import start


@pytest.mark.slow
def test_a_study_killed_while_training_gives_the_same_table(file, tmp_path):
    whole = start(file, tmp_path / "whole", "--jobs", "2")
    assert whole.wait() == 0, whole.stdout.read()[-2000:]
    table = (tmp_path / "whole" / "table.md").read_text()
    assert "| plain " in table
    assert "| full " in table

    out = tmp_path / "killed"
    killed = start(file, out)
    follow(out / "logs" / "train-full-4.log", "Train Epoch: 1", killed)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    kept = (out / "results" / "plain-4.json").stat().st_mtime_ns
    assert not (out / "results" / "full-4.json").exists()
    assert not (out / "table.md").exists()
    again = start(file, out)
    said = again.communicate()[0]
    assert again.returncode == 0, said[-2000:]
    assert "1 finished runs are kept" in said
    assert (out / "results" / "plain-4.json").stat().st_mtime_ns == kept
    assert (out / "table.md").read_text() == table
    checkpoints = sorted(path.name for path in (out / "runs" / "full-4" / "checkpoints").glob("*.pt"))
    assert checkpoints == ["epoch_3.pt"]  # the one between is gone once it is evaluated
    history = json.loads((out / "results" / "full-4.json").read_text())["pretrained"]
    assert [name[-4] for name in history] == ["2", "3"]


def test_a_second_process_in_one_folder_is_refused(file, tmp_path):
    import fcntl

    study = spec.load(file, tmp_path / "o")
    (tmp_path / "o").mkdir()
    with open(tmp_path / "o" / ".lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process is at work on this study"):
            Runner(study, tmp_path / "o", Local()).run()


def failing(monkeypatch, status):
    done = []

    def carry_out(self, folder, hearer, environment):
        done.append((self.name, environment))
        if self.run.arm.name == "plain":
            raise StepFailed("no luck", status)

    monkeypatch.setattr(Training, "carry_out", carry_out)
    monkeypatch.setattr(check, "check_arms", lambda study, out: None)
    return done


def test_a_failed_run_is_noted_and_the_others_go_on(file, tmp_path, monkeypatch):
    done = failing(monkeypatch, 1)
    runner = Runner(spec.load(file, tmp_path / "o", seeds=[0, 1]), tmp_path / "o", Local(2, ("4", "7")))
    runner.run()
    assert runner.failed == {"plain-0": "no luck", "plain-1": "no luck"}
    assert sorted(name for name, _ in done) == ["full-0", "full-1", "plain-0", "plain-1"]
    assert {environment["CUDA_VISIBLE_DEVICES"] for _, environment in done} == {"4", "7"}


def pretend(monkeypatch):
    """Steps write their products without running; returns their names."""
    done = []

    def run(self, step, each_line=None, environment=None):
        done.append(step.name)
        for product in step.products:
            if step.name.startswith("train"):
                for epoch in (2, 3):
                    write_atomic(product / "checkpoints" / f"epoch_{epoch}.pt", "x")
            else:
                write_atomic(product, "{}")
        write_atomic(self.marker(step), json.dumps(description(step)))

    monkeypatch.setattr(Folder, "run", run)
    monkeypatch.setattr(check, "check_arms", lambda study, out: None)
    return done


@pytest.mark.parametrize("keep", ["last", "none", "all"])
def test_another_evaluation_set_needs_no_training(file, tmp_path, monkeypatch, keep):
    done = pretend(monkeypatch)
    Runner(spec.load(file, tmp_path / "o"), tmp_path / "o", Local(), keep).run()
    assert done == ["train-plain-4", "eval-plain-4", "train-full-4", "eval-full-4"]
    done.clear()
    Runner(spec.load(file, tmp_path / "o"), tmp_path / "o", Local(), keep).run()
    assert done == []
    file.write_text(file.read_text().replace("things = ", "other = "))
    Runner(spec.load(file, tmp_path / "o"), tmp_path / "o", Local(), keep).run()
    assert done == (["train-plain-4"] * (keep == "none") + ["eval-plain-4"] + ["train-full-4"] * (keep == "none")) + [
        "eval-full-4"
    ]
    done.clear()
    Runner(spec.load(file, tmp_path / "o"), tmp_path / "o", Local(), keep).run()
    assert done == []


def test_measures_of_other_flags_are_not_reported(file, tmp_path, monkeypatch):
    pretend(monkeypatch)
    Runner(spec.load(file, tmp_path / "o"), tmp_path / "o", Local()).run()
    result = tmp_path / "o" / "results" / "plain-4.json"
    assert result.exists()

    def fail(self, step, each_line=None, environment=None):
        raise StepFailed("no luck", 1)

    monkeypatch.setattr(Folder, "run", fail)
    file.write_text(file.read_text().replace("lr = 1e-3", "lr = 1e-2"))
    runner = Runner(spec.load(file, tmp_path / "o"), tmp_path / "o", Local())
    runner.run()
    assert set(runner.failed) == {"plain-4", "full-4"}
    assert not result.exists()


def test_wrong_flags_end_the_study(file, tmp_path, monkeypatch):
    done = failing(monkeypatch, 2)
    with pytest.raises(StepFailed, match="no luck"):
        Runner(spec.load(file, tmp_path / "o", seeds=[0, 1]), tmp_path / "o", Local()).run()
    assert len(done) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[arms.plain]", "[arms.plain]\nlrr = 3", "arms.plain: unrecognized arguments: --lrr 3"),
        ('loss = "sclip"', 'loss = "sclip"\nsiglip = true', "arms.full: --siglip does not work with --loss sclip"),
        ("batch-size = 16", "batch-size = 64", "arms.full: --train-data holds 40 pairs, fewer than one global batch"),
        ("[arms.plain]", "[arms.plain]\nkeywords = 'x'", "arms.plain: --keywords: only with --loss sclip"),
    ],
)
def test_arms_are_refused_before_any_training(file, tmp_path, old, new, message):
    file.write_text(file.read_text().replace(old, new))
    study = spec.load(file, tmp_path / "o")
    assert check.refusal(check.commands(study, tmp_path / "o")).startswith(message)


def test_the_check_knows_the_processes_and_leaves_this_one_alone(file, tmp_path):
    from sclip_plugin.host import openclip3

    file.write_text("processes = 3\n" + file.read_text())
    with pytest.raises(UsageError, match="arms.full: .* fewer than one global batch of 48"):
        check.check_arms(spec.load(file, tmp_path / "o"), tmp_path / "o")
    assert openclip3.sclip.run is None


def test_commands_that_need_no_training(file, tmp_path, capsys):
    assert cli.main(["study", "--list"]) == 0
    assert "first-experiments" in capsys.readouterr().out
    assert cli.main(["study", "--copy", "icons"]) == 0
    assert "[train-sclip]" in capsys.readouterr().out
    assert cli.main(["study"]) == 2
    assert cli.main(["study", "nowhere"]) == 1
    assert cli.main(["study", str(file), "--set", "x"]) == 2
    assert cli.main(["study", str(file), "--seeds", "a"]) == 2
    assert cli.main(["study", str(file), "--jobs", "0"]) == 2
    assert cli.main(["study", str(file), "--out", str(tmp_path / "o"), "--report-only"]) == 1
    errors = capsys.readouterr().err
    assert "no run is finished" in errors
    assert "--jobs must be at least 1, got 0" in errors
    assert "Traceback" not in errors


def test_stock_runs_with_one_seed_are_equal(monkeypatch):
    import torch
    from webdataset import filters

    from sclip_plugin.commands.study import stock

    monkeypatch.setattr(filters, "random", filters.random)
    stock.seed_shuffles()
    orders = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        stock.seed_shuffles()
        orders.append([list(filters.shuffle(50)(iter(range(40)))) for _ in range(2)])
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0][0] != orders[0][1]  # the next epoch's order is another


def test_runs_go_seed_by_seed(file, tmp_path):
    study = spec.load(file, tmp_path / "o", seeds=[0, 1])
    assert [run.name for run in steps.runs(study)] == ["plain-0", "full-0", "plain-1", "full-1"]
