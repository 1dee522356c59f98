"""What `sclip` does about the machine it runs on: a poor terminal, Ctrl-C, a worker that was killed, no memory."""

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from sclip_plugin import cli
from sclip_plugin.commands import doctor
from sclip_plugin.data.mixed import MixedLoader
from sclip_plugin.evaluation.sets import Samples
from tests.evaluation.sets import model_with_weights, retrieval_set

ASCII = """
import sys
from sclip_plugin import cli
for command in cli.COMMANDS:
    try:
        cli.main([command, "--help"])
    except SystemExit as stopped:
        assert stopped.code == 0
cli.main(["study", "--copy", "demo"])
print("WHOLE")
"""


def test_a_terminal_that_knows_ascii_alone_gets_escapes():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    run = subprocess.run([sys.executable, "-c", ASCII], capture_output=True, text=True, env=environment)
    assert run.stdout.endswith("WHOLE\n"), run.stderr
    assert run.stderr == ""


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("run", "sclip doctor: interrupted; run the same command again to continue\n"),
        ("add_arguments", "sclip: interrupted\n"),
    ],
)
def test_an_interruption_is_one_line(monkeypatch, capsys, where, line):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, where, interrupt)
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "sclip doctor: no memory left (MemoryError); smaller --batch-size"),
        (
            RuntimeError("CUDA out of memory. Tried"),
            "sclip doctor: no memory left (CUDA out of memory. Tried); smaller",
        ),
    ],
)
def test_a_lack_of_memory_is_one_line(monkeypatch, capsys, error, line):
    def fail(_):
        raise error

    monkeypatch.setattr(doctor, "run", fail)
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert len(said.splitlines()) == 1


def test_a_fault_of_the_program_is_not_hidden(monkeypatch):
    def fail(_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(doctor, "run", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        cli.main(["doctor"])


@pytest.mark.skipif(multiprocessing.get_start_method() != "fork", reason="the worker must inherit the change")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, 1), (signal.SIGINT, 0)])
def test_signals_to_a_worker(tmp_path, monkeypatch, capfd, number, status):
    """A killed one ends the command with one line; Ctrl-C is the main process's to answer."""
    whole = Samples._sample

    def strike(self, shard, members):
        os.kill(os.getpid(), number)
        return whole(self, shard, members)

    monkeypatch.setattr(Samples, "_sample", strike)
    sets = ["--retrieval", f"r={retrieval_set(tmp_path / 'r')}", "--device", "cpu", "--workers", "1"]
    assert cli.main(["eval", "--model", model_with_weights(tmp_path / "m"), *sets]) == status
    said = capfd.readouterr().err
    assert "Traceback" not in said
    if status:
        assert said.startswith("sclip eval: a process that reads data died (DataLoader worker")
        assert len(said.splitlines()) == 1


def test_workers_of_training_leave_ctrl_c_to_the_main_process(monkeypatch):
    from sclip_plugin.data import mixed

    given = {}
    monkeypatch.setattr(mixed, "DataLoader", lambda dataset, **options: given.update(options))
    MixedLoader.__init__(object.__new__(MixedLoader), _Config(), None, None)
    handler = signal.getsignal(signal.SIGINT)
    try:
        given["worker_init_fn"](0)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, handler)


class _Config:
    """As much of a `MixedConfig` as a loader's beginning looks at."""

    steps = world_size = batch_size = 1
