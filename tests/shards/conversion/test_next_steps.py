"""The commands that `sclip convert` prints run as they stand."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sclip_plugin.cli import main
from sclip_plugin.shards import next_steps
from sclip_plugin.shards.next_steps import Schedule, run_name
from tests.helpers.conversion import convert, source
from tests.helpers.models import write_model

MODEL = "--model ViT-B-32-quickgelu --pretrained openai"
PROGRAMS = ("sclip ", "torchrun ", "python ")


def printed_commands(said: str) -> list[str]:
    """The commands in the output of a conversion, as a shell would take them."""
    lines = said.replace(" \\\n", " ").splitlines()
    return [re.sub(" +", " ", line) for line in lines if line.startswith(PROGRAMS)]


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
@pytest.mark.parametrize("processes", [1, 2])
def test_the_printed_commands_run(processes, tmp_path, capsys, monkeypatch):
    """Keywords, both trainings and evaluations, pasted into a shell; only model and epochs are others.

    Two processes are printed for two GPUs, and train on the CPU here.
    """
    if processes == 2:
        monkeypatch.setattr(next_steps, "gpu_count", lambda: 2)
    root = source(tmp_path / "my photos", captioned=20, bare=10)
    assert convert(root, root / "all shards") == 0
    commands = printed_commands(capsys.readouterr().out)
    assert [command.split()[:2] for command in commands] == [
        ["sclip", "keywords"],
        *([["python", "-m"] if processes == 1 else ["torchrun", "--nproc-per-node"]] * 2),
        *([["sclip", "eval"]] * 2),
    ]
    keywords, *trainings, _, _ = commands
    run_in_shell(keywords, tmp_path)
    model = write_model(tmp_path / "model")
    for training, loss in zip(trainings, ("sclip", "clip")):
        assert f"--loss {loss} " in training
        assert MODEL in training
        shorter = re.sub(r"--epochs \d+", "--epochs 1", training.replace(MODEL, f"--model {shlex.quote(model)}"))
        beside = " --device cpu --precision fp32" if processes == 2 else ""
        log = run_in_shell(shorter + beside, tmp_path)
        assert "evaluation after epoch 1: image_retrieval_recall@1" in log
        assert "before and after training" in log
    runs = sorted((tmp_path / "logs").iterdir())
    assert [run.name for run in runs] == ["all-shards-sclip", "all-shards-supervised"]
    assert all(any((run / "tensorboard").iterdir()) for run in runs)
    monkeypatch.chdir(tmp_path)
    for evaluation in commands[3:]:
        assert main(shlex.split(evaluation)[1:]) == 0
        assert "text R@10" in capsys.readouterr().out


def test_the_baseline_is_the_same_command_without_what_only_sclip_takes(tmp_path, capsys):
    assert convert(source(tmp_path), tmp_path / "out") == 0
    _, trained, supervised, *_ = printed_commands(capsys.readouterr().out)
    only_sclip = r"--unpaired-data \S+ |--keywords \S+ "
    assert len(re.findall(only_sclip, trained)) == 2
    wanted = re.sub(only_sclip, "", trained).replace("--loss sclip", "--loss clip")
    assert supervised == wanted.replace("--name out-sclip", "--name out-supervised")


def test_training_uses_the_gpus_that_are_there(tmp_path, capsys, monkeypatch):
    root = source(tmp_path)
    said = {}
    for gpus in (0, 1, 4, 50):
        monkeypatch.setattr(next_steps, "gpu_count", lambda gpus=gpus: gpus)
        assert convert(root, tmp_path / "out") == 0
        said[gpus] = printed_commands(capsys.readouterr().out)[1]
    assert said[0].startswith("python -m open_clip_train.main ")
    assert said[0].endswith("--device cpu --precision fp32")
    assert said[1].startswith("python -m open_clip_train.main ")
    assert said[4].startswith("torchrun --nproc-per-node 4 -m -- open_clip_train.main ")  # some torchruns need the --
    assert "--batch-size 8 " in said[4]  # a global batch of 36 pairs at most
    assert "--device" not in said[4]
    assert "--nproc-per-node 36 " in said[50]
    assert "--batch-size 1 " in said[50]
    for command in said.values():
        assert re.search(r" --workers [1-4] .*--report-to tensorboard", command)


@pytest.mark.parametrize(
    ("pairs", "processes", "wanted"),
    [
        (400, 1, Schedule(64, 5e-5, 10, 29)),  # 203 steps: more than the paper's 25 epochs give
        (3_000, 1, Schedule(64, 5e-5, 58, 25)),
        (3_000, 4, Schedule(64, 5e-5, 15, 25)),
        (100_000, 1, Schedule(64, 5e-5, 100, 6)),  # under 10,000 steps
        (10_000_000, 1, Schedule(64, 5e-5, 100, 3)),
        (20, 1, Schedule(16, 2.5e-5, 10, 100)),  # the fewest steps need no more epochs than 100
        (1, 1, Schedule(1, 6.25e-6, 5, 100)),
    ],
)
def test_the_schedule_fits_the_number_of_steps(pairs, processes, wanted):
    found = Schedule.of(pairs, processes)
    assert found == wanted
    assert found.batch_size * processes <= pairs


def test_a_batch_or_a_number_of_epochs_that_the_user_names_is_taken():
    assert Schedule.of(3_000, 1, batch_size=16) == Schedule(16, 2.5e-5, 100, 25)
    assert Schedule.of(3_000, 1, epochs=2) == Schedule(64, 5e-5, 4, 2)
    assert Schedule.of(400, 1, batch_size=100, epochs=1) == Schedule(100, 5e-5, 1, 1)


def test_how_flags_are_written():
    assert Schedule(16, 2.5e-5, 10, 100).words() == (
        ["--batch-size", "16"],
        ["--lr", "2.5e-5", "--warmup", "10", "--epochs", "100", "--save-frequency", "20"],
    )
    assert Schedule.of(3000, 1).words()[1][:2] == ["--lr", "5e-5"]
    assert run_name(Path("my shards/Bäume & Co"), "sclip") == "B-ume-Co-sclip"
    assert run_name(Path("/"), "clip") == "run-supervised"


def test_without_val_images_nothing_is_evaluated(tmp_path, capsys):
    root = source(tmp_path)
    assert convert(root, tmp_path / "out", "--val-ratio", 0) == 0
    keywords, *trainings = printed_commands(capsys.readouterr().out)
    assert keywords == f"sclip keywords {tmp_path}/out/paired --out {tmp_path}/out/keywords.txt"
    assert len(trainings) == 2
    assert not [command for command in trainings if "--val-data" in command]


def test_without_unpaired_images_the_baseline_is_left(tmp_path, capsys):
    assert convert(source(tmp_path, bare=0), tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "# no unpaired images, which --loss sclip needs" in said
    (supervised,) = printed_commands(said)
    assert "--loss clip " in supervised


def test_without_a_driver_torch_is_not_imported():
    code = (
        "import sys; from sclip_plugin.shards import next_steps; next_steps._GPU_FILES = ('no-such-device',); "
        "assert next_steps.gpu_count() == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
