"""Studies as jobs of a cluster, with submitit's own executor and a Slurm of this machine."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

from sclip_plugin import cli
from sclip_plugin.commands.study import spec
from sclip_plugin.commands.study.folder import Folder
from sclip_plugin.commands.study.launchers import slurm
from sclip_plugin.commands.study.launchers.job_list import JobList, Submitted
from sclip_plugin.commands.study.launchers.local import Local
from sclip_plugin.commands.study.launchers.slurm_settings import SlurmSettings
from sclip_plugin.commands.study.steps import Step
from sclip_plugin.commands.study.tasks import StartModel
from sclip_plugin.errors import DataError, UsageError
from tests.helpers import fake_slurm
from tests.helpers.study import start

WAITS = """
import pathlib, signal, sys
again, product = map(pathlib.Path, sys.argv[1:])
if not again.exists():
    again.write_text("x")
    print("on", flush=True)
    signal.pause()
product.write_text("x")
"""


@pytest.fixture
def jobs(tmp_path, monkeypatch) -> Iterator[Path]:
    """The folder of the jobs' files of a Slurm of this machine, whose queue is looked at often."""
    found = fake_slurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{found.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "SECONDS", 0.1)
    yield found
    fake_slurm.scancel(found.parent, list(fake_slurm.states(found)))


@pytest.fixture
def study(file, tmp_path):
    return spec.load(file, tmp_path / "o")


def task(root: Path, name: str, text: str, *words: object) -> StartModel:
    """A task of one command, which runs a script; its product is the last word."""
    script = root / f"{name}.py"
    script.write_text(text)
    product = root / f"{name}.out"
    return StartModel(Step(f"eval-{name}", ("python", str(script), *map(str, words), str(product)), (product,)))


def write(root: Path, name: str) -> StartModel:
    return task(root, name, "import sys; open(sys.argv[1], 'w')")


def carry_out(study, folder, tasks, **settings):
    launcher = slurm.Slurm(SlurmSettings(minutes=30, **settings))
    launcher.check(study, folder, preparing=False)
    return launcher.carry_out(study, folder, tasks, [])


def interrupt_once(monkeypatch):
    """The wait between two looks at the queue is interrupted, as by Ctrl-C."""

    def interrupted(_seconds):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(slurm, "sleep", interrupted)


def test_tasks_are_one_array_and_a_failure_is_one_line_with_its_log(jobs, study, tmp_path, capsys):
    folder = Folder(tmp_path)
    bad = task(tmp_path, "bad", "print('why'); raise SystemExit(3)")
    failed = carry_out(study, folder, [write(tmp_path, "a"), bad, write(tmp_path, "c")], parallel=2)
    assert set(failed) == {"bad"}
    assert failed["bad"].startswith("job 100_1: `python ")
    assert failed["bad"].endswith(f"ended with status 3: why; see {tmp_path / 'logs' / 'eval-bad.log'}")
    assert (tmp_path / "a.out").exists()
    assert (tmp_path / "c.out").exists()
    (script,) = fake_slurm.submissions(jobs)
    assert "#SBATCH --array=0-2%2" in script
    assert "#SBATCH --time=30" in script
    assert not (tmp_path / "jobs.json").exists()
    said = capsys.readouterr().out
    assert "3 jobs submitted: 100" in said
    assert "a: done (job 100_0)" in said
    assert carry_out(study, folder, [write(tmp_path, "bad")]) == {}
    assert "--array" not in fake_slurm.submissions(jobs)[1]


def test_jobs_outlive_an_interruption_and_are_waited_for_again(jobs, study, tmp_path, monkeypatch, capsys):
    waiting, folder = task(tmp_path, "w", WAITS, tmp_path / "again"), Folder(tmp_path)
    done = write(tmp_path, "a")
    with monkeypatch.context() as patch:
        interrupt_once(patch)
        with pytest.raises(KeyboardInterrupt):
            carry_out(study, folder, [waiting, done])
    assert "jobs go on without this command" in capsys.readouterr().out
    known = json.loads((tmp_path / "jobs.json").read_text())
    assert known["w"]["job"] == "100_0"
    with pytest.raises(UsageError, match=r"jobs 100 may be at work on this study; .*scancel 100\) and remove .*"):
        Local().check(study, folder, preparing=False)
    with pytest.raises(UsageError, match="jobs 100 may read what the study would make anew"):
        slurm.Slurm(SlurmSettings(30)).check(study, folder, preparing=True)
    other = task(tmp_path, "w", WAITS, "other")
    with pytest.raises(UsageError, match="w: job 100_0 is at work on it with other flags"):
        carry_out(study, folder, [other])
    begun(folder, waiting)
    fake_slurm.send(jobs, "100_0", signal.SIGUSR2)  # Slurm's warning; the job asks to be put back and begins again
    assert carry_out(study, folder, [one for one in (waiting, done) if not one.finished(folder)]) == {}
    assert "1 jobs of an earlier call go on: 100" in capsys.readouterr().out
    assert (tmp_path / "w.out").exists()
    assert len(fake_slurm.submissions(jobs)) == 1


def begun(folder: Folder, one: StartModel) -> None:
    """Wait until the task's command says that it is at work."""
    log = folder.log(one.step)
    subprocess.run(f"tail -n +1 -F {log} 2>/dev/null | grep -m 1 on", shell=True, check=True, timeout=60)


@pytest.mark.parametrize("state", ["PREEMPTED", "TIMEOUT"])
def test_an_ended_job_is_told_and_submitted_again_by_the_next_call(jobs, study, tmp_path, monkeypatch, state):
    waiting, folder = task(tmp_path, "w", WAITS, tmp_path / "again"), Folder(tmp_path)

    def end(_seconds):
        begun(folder, waiting)
        if fake_slurm.states(jobs)["100"] == "RUNNING":
            fake_slurm.send(jobs, "100", signal.SIGKILL, state)

    with monkeypatch.context() as patch:
        patch.setattr(slurm, "sleep", end)
        failed = carry_out(study, folder, [waiting])
    assert failed["w"].startswith(f"job 100 ended before its work was done (Slurm's state: {state}); see ")
    assert Path(failed["w"].rpartition("see ")[2]).exists()
    assert carry_out(study, folder, [waiting]) == {}
    assert len(fake_slurm.submissions(jobs)) == 2


def test_a_command_that_a_signal_ended_gives_no_result(jobs, study, tmp_path):
    killed = task(tmp_path, "k", "import os; os.kill(os.getpid(), 15)")
    failed = carry_out(study, Folder(tmp_path), [killed])
    assert failed["k"].startswith("job 100 ended before its work was done (Slurm's state: FAILED); see ")
    log = Path(failed["k"].rpartition("see ")[2])
    assert "ended with status -15" in log.read_text()


class Late(StartModel):
    """A task whose marker is seen at the second look only, as in a folder that machines share."""

    looks = iter([False, True])

    def finished(self, folder):
        return next(self.looks)


def test_a_job_that_left_the_queue_is_looked_for_twice(jobs, tmp_path):
    late, known = Late(Step("eval-a", ("python",))), JobList(tmp_path)
    waiting = {"a": Submitted("100", "")}
    assert slurm._Wait(Folder(tmp_path), known, {"a": late}).until_ended(waiting) == {}


def test_a_queue_that_does_not_answer_is_asked_again(jobs, study, tmp_path):
    (jobs.parent / "busy").write_text("xxx")
    assert carry_out(study, Folder(tmp_path), [write(tmp_path, "a")]) == {}
    assert not (jobs.parent / "busy").read_text()


def test_a_refused_submission_is_one_line(jobs, study, tmp_path):
    (jobs.parent / "refuse").write_text("")
    with pytest.raises(DataError, match=r"^sbatch: .*Invalid account$"):
        carry_out(study, Folder(tmp_path), [write(tmp_path, "a")])
    assert not (tmp_path / "jobs.json").exists()


def test_two_jobs_never_work_on_one_task(jobs, study, tmp_path, monkeypatch):
    import fcntl

    (tmp_path / "begun").mkdir()
    with open(tmp_path / "begun" / "a.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        failed = carry_out(study, Folder(tmp_path), [write(tmp_path, "a")])
    assert failed == {"a": "job 100: a: another job is at work on it"}


@pytest.mark.slow
def test_a_preempted_job_goes_on_and_the_table_is_that_of_this_machine(jobs, file, tmp_path, monkeypatch, capsys):
    file.write_text(file.read_text().replace("[arms.plain]\n", '[arms.plain]\nloss = "clip"\n'))
    local, out = start(file, tmp_path / "local"), tmp_path / "out"
    words = ["study", str(file), "--out", str(out), "--trust", "--launcher", "slurm", "--time", "30"]
    log = out / "logs" / "train-full-4.log"

    def preempt(seconds):
        if log.exists() and "Train Epoch: 1" in log.read_text() and fake_slurm.states(jobs)["100_1"] == "RUNNING":
            fake_slurm.send(jobs, "100_1", signal.SIGKILL, "PREEMPTED")
            monkeypatch.setattr(slurm, "sleep", sleep)
        sleep(seconds)

    monkeypatch.setattr(slurm, "sleep", preempt)
    assert cli.main(words) == 1
    assert (
        "full-4: failed: job 100_1 ended before its work was done (Slurm's state: PREEMPTED)" in capsys.readouterr().out
    )
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "1 finished runs are kept" in said
    assert "1 jobs submitted: 101" in said
    assert "Found latest resume checkpoint" in log.read_text()
    assert local.wait() == 0, local.stdout.read()[-2000:]
    assert (out / "table.md").read_text() == (tmp_path / "local" / "table.md").read_text()
    assert [path.name for path in (out / "runs" / "full-4" / "checkpoints").glob("*.pt")] == ["epoch_3.pt"]


def test_submitit_is_named_where_it_is_missing(jobs, study, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"--launcher slurm needs submitit: pip install 'sclip-plugin\[slurm\]'"):
        carry_out(study, Folder(tmp_path), [])


def test_slurm_is_missed_before_anything_runs(study, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="--launcher slurm: no sbatch here"):
        carry_out(study, Folder(tmp_path), [])


def test_a_dry_run_shows_jobs_and_changes_nothing(file, tmp_path, capsys):
    words = ["study", str(file), "--out", str(tmp_path / "o"), "--dry-run"]
    more = ["--launcher", "slurm", "--time", "1:30:00", "--slurm-partition", "gpu", "--slurm-parameter", "account=lab"]
    more += ["--slurm-parameter", "setup=module load cuda", "--slurm-parameter", "exclusive"]
    assert cli.main([*words, *more, "--jobs", "2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "would submit 2 jobs:"
    options = ["--time=90", "--partition=gpu", "--cpus-per-task=2", "--account=lab", "--array=…%2", "--exclusive"]
    assert {"  setup: module load cuda", *(f"  #SBATCH {option}" for option in options)} <= set(said)
    assert not any("gpus" in line for line in said)  # all arms train on the CPU
    assert [line for line in said if line.endswith(":")][1:] == ["plain-4:", "full-4:"]
    assert sum(line.startswith("  $ python -m open_clip_train.main") for line in said) == 2
    assert cli.main(words) == 0
    assert capsys.readouterr().out.startswith("would run on this machine, 1 at a time:")
    assert not (tmp_path / "o").exists()


def test_a_dry_run_without_data_shows_what_makes_it(file, tmp_path, capsys):
    made = '[[prepare]]\nrun = "sclip verify x"\nmakes = ["$out/x"]\n[train]'
    file.write_text(file.read_text().replace("[train]", made, 1).replace("/paired", "/nowhere"))
    assert cli.main(["study", str(file), "--out", str(tmp_path / "o"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("$ sclip verify x\nand then train and evaluate")
