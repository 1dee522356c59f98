"""The commands that `sclip convert` prints run as they stand."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sclip_plugin.cli import main
from tests.helpers.conversion import convert, source
from tests.helpers.models import write_model

MODEL = "--model ViT-B-32-quickgelu --pretrained openai"


def printed_commands(said: str) -> list[str]:
    """The commands in the output of a conversion, as a shell would take them."""
    lines = said.replace(" \\\n", " ").splitlines()
    return [line for line in lines if line.startswith(("sclip ", "torchrun "))]


def run_in_shell(command: str, folder: Path) -> str:
    """Run a command as a user would who pastes it; returns what it said."""
    programs = os.path.dirname(sys.executable)
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_printed_commands_run(tmp_path, capsys, monkeypatch):
    """Keywords, training and evaluation, pasted into a shell; only model and epochs are others."""
    root = source(tmp_path / "my photos", captioned=20, bare=10)
    assert convert(root, root / "all shards") == 0
    commands = printed_commands(capsys.readouterr().out)
    assert [command.split()[:2] for command in commands] == [
        ["sclip", "keywords"],
        ["torchrun", "--nproc-per-node"],
        ["sclip", "eval"],
    ]
    keywords, training, evaluation = commands
    assert "-m -- open_clip_train.main" in training  # some torchruns need the --
    assert MODEL in training
    run_in_shell(keywords, tmp_path)
    model = write_model(tmp_path / "model")
    log = run_in_shell(
        training.replace(MODEL, f"--model {shlex.quote(model)}").replace("--epochs 25", "--epochs 1"), tmp_path
    )
    assert "evaluation after epoch 1: image_retrieval_recall@1" in log
    (run,) = (tmp_path / "logs").iterdir()
    evaluation = evaluation.replace("ViT-B-32-quickgelu", shlex.quote(model)).replace("RUN", run.name)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(evaluation.replace("epoch_25", "epoch_1"))[1:]) == 0
    assert "text R@10" in capsys.readouterr().out


def test_training_uses_the_gpus_that_are_there(tmp_path, capsys, monkeypatch):
    from sclip_plugin.shards import next_steps

    root = source(tmp_path)
    said = {}
    for gpus in (0, 4, 50):
        monkeypatch.setattr(next_steps, "gpu_count", lambda gpus=gpus: gpus)
        assert convert(root, tmp_path / "out") == 0
        said[gpus] = printed_commands(capsys.readouterr().out)[1]
    assert "--nproc-per-node 1 " in said[0]
    assert "--device cpu --precision fp32" in said[0]
    assert "--nproc-per-node 4 " in said[4]
    assert "--batch-size 8 " in said[4]  # a global batch of 36 pairs at most
    assert "--device" not in said[4]
    assert "--nproc-per-node 36 " in said[50]
    assert "--batch-size 1 " in said[50]


def test_without_val_images_nothing_is_evaluated(tmp_path, capsys):
    root = source(tmp_path)
    assert convert(root, tmp_path / "out", "--val-ratio", 0) == 0
    keywords, training = printed_commands(capsys.readouterr().out)
    assert keywords == f"sclip keywords {tmp_path}/out/paired --out {tmp_path}/out/keywords.txt"
    assert "--val-data" not in training


def test_without_a_driver_torch_is_not_imported():
    code = (
        "import sys; from sclip_plugin.shards import next_steps; next_steps._GPU_FILES = ('no-such-device',); "
        "assert next_steps.gpu_count() == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
