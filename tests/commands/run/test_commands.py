"""The commands that `sclip run` prints are understood by those that they name."""

import shlex

import pytest

from sclip_plugin import cli
from sclip_plugin.commands.run.arms import ARMS
from sclip_plugin.commands.run.choice import Candidate, best
from sclip_plugin.commands.run.plan import Plan
from sclip_plugin.commands.run.sequence import _check
from sclip_plugin.commands.study import check, steps
from sclip_plugin.commands.study.spec import Arm
from sclip_plugin.commands.study.steps import StudyRun
from tests.commands.run.parsing import parsed


def test_every_printed_command_parses(command, root, capsys):
    (root / "words.txt").write_text("tree\nriver\n")
    sets = ["--val", f"c={root / 'c'}", "--test", f"t={root / 't'}", "--license", "mit"]
    assert (
        cli.main([*command, *sets, "--arms", ",".join(ARMS), "--keywords", str(root / "words.txt"), "--dry-run"]) == 0
    )
    lines = [line[2:] for line in capsys.readouterr().out.splitlines() if line.startswith("$ ")]
    training = [shlex.split(line) for line in lines if line.startswith("python -m open_clip_train.main ")]
    assert len(training) == len(ARMS)
    for words in (shlex.split(line) for line in lines if line.startswith("sclip ")):
        assert cli._parse(words[1:]).command == words[1]
    assert len(lines) == len(training) + 1 + len(ARMS) + 2 + 2 + len(ARMS)  # check-up, eval, wiseft, export, eval
    assert check.refusal({words[-1]: words[3:] for words in training}) == ""
    assert "--keywords: only with --loss sclip" in check.refusal({"x": [*training[0][3:], "--keywords", "x"]})


def test_a_damaged_start_model_is_refused_in_a_dry_run_too(command, root, capsys):
    (root / "model" / "open_clip_model.safetensors").write_bytes(b"cut off")
    assert cli.main([*command, "--dry-run"]) == 1
    assert "open_clip_model.safetensors" in capsys.readouterr().err


def test_a_checkpoint_that_was_cut_off_is_no_matter_of_the_flags(command, root):
    broken = root / "out" / "runs" / "supervised-0" / "checkpoints" / "epoch_1.pt"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"PK\x03\x04 cut off")
    request = parsed(command[1:])
    _check(Plan(request), ["supervised"])


def test_several_gpus_train_by_torchrun(root, monkeypatch):
    monkeypatch.setattr("sclip_plugin.commands.run.request.gpu_count", lambda: 2)
    request = parsed([str(root / "shards"), "--model", f"local-dir:{root / 'model'}"])
    plan = Plan(request)
    study = plan.study(("supervised",), request.validation)
    (run,) = steps.runs(study)
    step = steps.train_step(study, run, plan.out)
    assert step.shown.startswith("python -m torch.distributed.run --standalone --nproc-per-node 2 -m -- open_clip_")
    assert "--device" not in step.command
    assert "--precision amp" in step.shown
    assert "--batch-size 32" in plan.checkup_step().shown  # the pairs of both
    assert "--device cuda" in plan.keywords_step().shown


def test_of_equal_epochs_the_earliest_counts_and_then_the_first_arm():
    first, second = (StudyRun(Arm(name, name, {}), 0) for name in ("a", "b"))
    some = [Candidate(first, 2, 0.5), Candidate(first, 4, 0.5), Candidate(second, 2, 0.5), Candidate(second, 1, 0.4)]
    assert best(some) == some[0]
    assert best([*some, Candidate(second, 1, 0.5)]).run is second
    assert best([*some, Candidate(second, 6, 0.6), Candidate(first, 9, float("nan"))]).epoch == 6


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_language_is_told_to_those_who_ask(root, language):
    request = parsed([str(root / "shards"), "--model", f"local-dir:{root / 'model'}", "--language", language])
    plan = Plan(request)
    for step in (plan.proposals_step(), plan.checkup_step(), plan.keywords_step()):
        assert ("--language de" in step.shown) == (language == "de")
