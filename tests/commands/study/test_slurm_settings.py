"""What is asked of Slurm, from flags."""

import pytest

from sclip_plugin import cli
from sclip_plugin.commands.study import spec
from sclip_plugin.commands.study.launchers.slurm_settings import SlurmSettings, minutes, read_settings
from sclip_plugin.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("1:30", 2), ("4:00:00", 240), ("0:00:01", 1), ("1-2", 1560), ("1-2:30", 1590), ("0-0:1:1", 2)],
)
def test_times_are_read_as_slurm_reads_them(text, expected):
    assert minutes(text) == expected


@pytest.mark.parametrize("text", ["", "1h", "-5", "1:2:3:4", "1-", "0", "0:00"])
def test_other_times_are_refused(text):
    with pytest.raises(UsageError, match="^--time must be "):
        minutes(text)


def test_parameters_reach_the_batch_script(file, tmp_path, monkeypatch):
    """As submitit writes it."""
    import submitit

    from tests.helpers import fake_slurm

    fake_slurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    given = [
        "mem=32G",
        "exclusive",
        "setup=module load cuda",
        "setup=ulimit -n 9999",
        "--cpus-per-task=3",
        "gres=gpu:a:2",
    ]
    settings = read_settings("1-0", "gpu", None, 7, [*given, "signal_delay_s=30"])
    file.write_text(file.read_text().replace('device = "cpu"', ""))
    executor = submitit.SlurmExecutor(folder=tmp_path / "jobs")
    executor.update_parameters(**settings.parameters(spec.load(file, tmp_path / "o")))
    script = executor._make_submission_file_text("run", "0")
    wanted = ["time=1440", "partition=gpu", "mem=32G", "exclusive", "cpus-per-task=3", "gres=gpu:a:2", "signal=USR2@30"]
    for option in wanted:
        assert f"#SBATCH --{option}\n" in script
    assert "\nmodule load cuda\nulimit -n 9999\n" in script
    assert "gpus-per-node" not in script


def test_a_run_gets_a_gpu_and_a_cpu_for_each_process_and_a_cpu_for_each_worker(file, tmp_path):
    text = file.read_text()
    file.write_text("processes = 2\n" + text.replace("[arms.full]", '[arms.full]\ndevice = "cuda"\nworkers = 3'))
    study = spec.load(file, tmp_path / "o")
    found = SlurmSettings(5).parameters(study)
    assert (found["gpus_per_node"], found["cpus_per_task"]) == (2, 8)
    assert "gpus_per_node" not in SlurmSettings(5, gpus=0).parameters(study)
    with pytest.raises(UsageError, match="--gpus 1: each run has 2 processes"):
        SlurmSettings(5, gpus=1).check(study)
    file.write_text(text)
    assert "gpus_per_node" not in SlurmSettings(5).parameters(spec.load(file, tmp_path / "o"))  # all on the CPU


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--time", "5"], "--time needs --launcher slurm"),
        (["--slurm-partition", "x"], "--slurm-partition needs --launcher slurm"),
        (["--slurm-parameter", "x=1"], "--slurm-parameter needs --launcher slurm"),
        (["--launcher", "slurm"], "--launcher slurm needs --time"),
        (["--launcher", "slurm", "--time", "5", "--report-only"], "--launcher slurm does not work with --report-only"),
        (["--dry-run", "--report-only"], "--dry-run does not work with --report-only"),
        (["--launcher", "slurm", "--time", "5", "--gpus", "0,1"], "--gpus must be a number of GPUs for each job"),
        (["--launcher", "slurm", "--time", "x"], "--time must be minutes"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(file, tmp_path, capsys, flags, message):
    assert cli.main(["study", str(file), "--out", str(tmp_path / "o"), *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (["time=5"], "--slurm-parameter time: use --time"),
        (["partition=x"], "--slurm-parameter partition: use --slurm-partition"),
        (["array=1-3"], "--slurm-parameter array: is set by the study"),
        (["open-mode=x"], "--slurm-parameter open_mode: is set by the study"),
        (["mem=1", "mem=2"], "--slurm-parameter mem: given twice"),
        (["=3"], "--slurm-parameter must be KEY=VALUE"),
        (["a b=3"], "--slurm-parameter must be KEY=VALUE"),
        (["comment=x\n#SBATCH --mem=1"], "--slurm-parameter must be KEY=VALUE or KEY, in one line"),
        (["setup"], "--slurm-parameter setup: needs a value"),
        (["signal_delay_s=x"], "--slurm-parameter signal_delay_s must be a number of seconds"),
        (["gres=gpu:1"], "--gpus does not work with a --slurm-parameter for GPUs"),
    ],
)
def test_parameters_that_cannot_work_are_refused(parameters, message):
    with pytest.raises(UsageError, match=f"^{message}"):
        read_settings("5", None, "1", None, parameters)
