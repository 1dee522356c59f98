"""Training runs that are struck while they run: damaged shards, killed workers, full disks, stopped ranks, no memory.

A killed rank is in `tests/training/test_training_ranks.py`; kills at random moments are in `tests/faults/kills.py`.
"""

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from sclip_plugin.training.failures import explain
from tests.helpers.models import write_model
from tests.helpers.shards import write_shards
from tests.helpers.training import losses, run_training, struck, train_arguments
from tests.training.test_training_ranks import weights

pytestmark = pytest.mark.timeout(120)


Run = subprocess.CompletedProcess[str]


def own_shards(root: Path, pairs: int, shards: int) -> Path:
    """Shards of a test's own, to be damaged: `pairs` in `shards` tars of paired/, 60 images in 3 of unpaired/."""
    write_shards(root / "paired", pairs, shards, captions=True)
    write_shards(root / "unpaired", 60, 3, captions=False, first=10_000)
    (root / "keywords.txt").write_text("tree\nriver\npark\n")
    return root


def damage(folder: Path, numbers: list[int]) -> str:
    """Code for `struck`: of the shards with these numbers a third is cut, a third made junk, and a third removed."""
    return f"""
for n, number in enumerate({numbers}):
    path = os.path.join({str(folder)!r}, f"{{number:06d}}.tar")
    if n % 3 == 0:
        os.truncate(path, 3000)
    elif n % 3 == 1:
        os.remove(path)
        open(path, "wb").write(b"junk" * 4000)
    else:
        os.remove(path)
"""


def skipped(output: str) -> list[int]:
    """How many samples each of the lines about unreadable shards counts."""
    return [int(number) for number in re.findall(r"skipped samples: .*unreadable shard × (\d+)", output)]


def last_line(run: Run) -> str:
    """The last line of what a run printed itself; at the end PyTorch's compiler adds some of its own."""
    return [line for line in run.stdout.strip().splitlines() if not re.match(r"I\d{4} ", line)][-1]


def one_line(run: Run) -> str:
    """The last line of a run that ended without a traceback. Fails if there is one."""
    assert "Traceback" not in run.stdout, run.stdout[-3000:]
    return last_line(run)


@pytest.mark.slow
def test_shards_damaged_between_two_epochs(tiny_model, tmp_path):
    """Training goes on with what is left, for as many steps as before, and what is lost is counted."""
    root = own_shards(tmp_path, 80, 8)
    arguments = train_arguments(root, tiny_model, tmp_path / "logs", epochs=2, batch_size=16)
    env = struck(tmp_path / "spy", "save 1", damage(root / "paired", [0, 1, 2]))
    run = run_training(arguments, module="struck", env=env)
    assert run.returncode == 0, run.stdout[-3000:]
    assert len(losses(run.stdout)) == 10
    assert run.stdout.index("read 80 pairs") < run.stdout.index("skipped samples")
    (lost,) = skipped(run.stdout)
    assert lost >= 26  # two shards of ten, and more than half of a third


@pytest.mark.slow
def test_shards_damaged_in_the_middle_of_an_epoch(tiny_model, tmp_path):
    """The set is larger than the shuffle buffer, so that a part of it is not read yet when the first step is taken."""
    root = own_shards(tmp_path, 1600, 16)
    arguments = train_arguments(root, tiny_model, tmp_path / "logs", batch_size=100)
    env = struck(tmp_path / "spy", "step 1", damage(root / "paired", list(range(0, 16, 2))))
    run = run_training(arguments, module="struck", env=env)
    assert run.returncode == 0, run.stdout[-3000:]
    assert len(losses(run.stdout)) == 16
    (lost,) = skipped(run.stdout)
    assert lost >= 100


@pytest.fixture(scope="module")
def emptied(tiny_model, tmp_path_factory) -> tuple[Run, Path]:
    """A run of two ranks that loses all of its unpaired images after the first of two epochs, and its folder."""
    root = own_shards(tmp_path_factory.mktemp("emptied"), 40, 4)
    arguments = train_arguments(root, tiny_model, root / "logs", epochs=2)
    code = damage(root / "unpaired", [0, 1, 2]).replace("3000", "100")
    return run_training(arguments, 2, module="struck", env=struck(root / "spy", "save 1", code)), root / "logs"


@pytest.mark.slow
def test_no_shard_left_ends_a_run_of_two_ranks_with_one_line(emptied):
    run, _ = emptied
    assert run.returncode == 1
    found = r"^sclip_plugin: --unpaired-data: no usable sample in a whole pass over 3 shards; found .* unreadable shard"
    assert re.search(found, run.stdout, re.MULTILINE), run.stdout[-3000:]


STOP = """
import subprocess
subprocess.Popen(["sh", "-c", f"sleep 4; kill -CONT {os.getpid()}"])
os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.slow
def test_a_stopped_rank_that_goes_on_changes_nothing(emptied, tiny_model, tmp_path):
    """The other run of two ranks is unbroken in its first epoch."""
    unbroken, logs = emptied
    arguments = train_arguments(own_shards(tmp_path, 40, 4), tiny_model, tmp_path / "logs", epochs=2)
    run = run_training(arguments, 2, module="struck", env=struck(tmp_path / "spy", "step 2", STOP, rank=1))
    assert run.returncode == 0, run.stdout[-3000:]
    assert losses(run.stdout)[:3] == losses(unbroken.stdout)[:3]
    after = weights(tmp_path / "logs", 1)
    assert all(torch.equal(after[name], tensor) for name, tensor in weights(logs, 1).items())


@pytest.mark.slow
def test_a_killed_worker_ends_the_run_with_one_line(tiny_model, tmp_path):
    root = own_shards(tmp_path, 40, 4)
    arguments = train_arguments(root, tiny_model, tmp_path / "logs", epochs=2)
    code = "import multiprocessing; os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)"
    run = run_training(arguments, module="struck", env=struck(tmp_path / "spy", "step 2", code))
    assert run.returncode == 1
    how = "(DataLoader worker .*|.*reset.*|.*refused.*|.*EOF.*)"  # known by its signal, or by the connection to it
    assert re.match(rf"sclip_plugin: a process that reads data died \({how}\); ", one_line(run))


@pytest.mark.slow
def test_ctrl_c_ends_the_run_with_one_line(tiny_model, tmp_path):
    root = own_shards(tmp_path, 40, 4)
    arguments = train_arguments(root, tiny_model, tmp_path / "logs", epochs=2)
    # a shell that starts the tests in the background has them ignore the signal
    code = "signal.signal(2, signal.default_int_handler); signal.raise_signal(2)"
    run = run_training(arguments, module="struck", env=struck(tmp_path / "spy", "step 2", code))
    assert run.returncode != 0
    assert one_line(run) == "sclip_plugin: interrupted; --resume goes on from the last checkpoint"


@pytest.mark.slow
def test_too_little_memory_for_a_step_ends_the_run_with_one_line(tiny_model, tmp_path):
    """After the first forward pass the process may have a megabyte more; the gradients alone need six."""
    root = own_shards(tmp_path, 40, 4)
    arguments = train_arguments(root, tiny_model, tmp_path / "logs", epochs=2)
    code = """
import resource
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 20),) * 2)
"""
    run = run_training(arguments, module="struck", env=struck(tmp_path / "spy", "step 1", code))
    assert run.returncode == 1
    assert re.match(r"sclip_plugin: no memory left \(.*\); smaller --batch-size", one_line(run))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            RuntimeError("DataLoader worker (pid(s) 12) exited unexpectedly"),
            "a process that reads data died (DataLoader",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB."), "no memory left (CUDA out of memory. Tried"),
        (
            MemoryError("Caught MemoryError in a\nTraceback\nMemoryError"),
            "no memory left (MemoryError); smaller",
        ),
        (MemoryError(), "no memory left (MemoryError); smaller"),
        (OSError(12, "Cannot allocate memory"), "no memory left ([Errno 12] Cannot allocate memory); smaller"),
        (RuntimeError("size mismatch"), None),
        (OSError(28, "No space left on device"), None),
    ],
)
def test_only_what_the_machine_lacks_is_put_in_one_line(error, says):
    found = explain(error)
    assert found is None if says is None else found.startswith(says)
    assert "\n" not in (found or "")


class HungUp:
    """A queue whose other end died within a batch."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def get(self, timeout: float) -> object:
        raise self.error


@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()])
def test_a_reader_that_dies_within_a_batch_is_told_before_it_is_known_to_be_dead(error, monkeypatch):
    """PyTorch passes on the error of the connection then, as the reader still counts as alive."""
    batches = iter(torch.utils.data.DataLoader([1, 2, 3], num_workers=1))
    next(batches)
    monkeypatch.setattr(batches, "_data_queue", HungUp(error))
    with pytest.raises(type(error)) as raised:
        batches._try_get_data()
    assert explain(raised.value).startswith("a process that reads data died (")
    assert explain(error.with_traceback(None)) is None


@pytest.mark.slow
def test_a_full_disk_at_the_second_checkpoint_leaves_the_first(tiny_model, capsys, tmp_path):
    """Nothing is left of the second, so that the next start goes on from the first."""
    root = own_shards(tmp_path, 40, 4)
    arguments = train_arguments(root, tiny_model, tmp_path / "logs", epochs=2)
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, resource.RLIM_INFINITY))"
    run = run_training(arguments, module="struck", env=struck(tmp_path / "spy", "save 2", code))
    assert run.returncode == 1
    checkpoints = tmp_path / "logs" / "run" / "checkpoints"
    said = rf"sclip_plugin: {checkpoints}/epoch_2.pt: the checkpoint could not be written \(.*\); is the disk full\?"
    assert re.fullmatch(said, one_line(run))
    assert [path.name for path in checkpoints.iterdir()] == ["epoch_1.pt"]
    assert weights(tmp_path / "logs", 1)
    assert resumed(capsys, [*arguments, "--resume", "latest"]) == ""


@pytest.fixture(scope="module")
def checkpoint(tiny_model, tmp_path_factory) -> bytes:
    """A checkpoint as a run writes it, of a model that was not trained."""
    import open_clip

    model = open_clip.create_model(tiny_model)
    path = tmp_path_factory.mktemp("checkpoint") / "epoch_1.pt"
    optimizer = torch.optim.AdamW(model.parameters()).state_dict()
    torch.save({"epoch": 1, "name": "run", "state_dict": model.state_dict(), "optimizer": optimizer}, path)
    return path.read_bytes()


def resumed(capsys, arguments: list[str]) -> str:
    """What the command says when it refuses while parsing; "" where it does not refuse."""
    from sclip_plugin import host

    host.install("explicit main")
    from open_clip_train.params import parse_args

    with suppress(SystemExit):
        parse_args(arguments)
        return ""
    return capsys.readouterr().err.strip().splitlines()[-1]


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def zipped(value: object, path: Path) -> bytes:
    torch.save(value, path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda whole, _: b"", "is empty"),
        (lambda whole, _: b"no checkpoint " * 1000, "is not a checkpoint"),
        (lambda whole, _: whole[: len(whole) // 2], "is cut off"),
        (lambda whole, _: whole[:-1], "is cut off"),
        (lambda whole, _: whole[:200] + bytes(100) + whole[300:], "is damaged, or holds more than tensors"),
        (lambda whole, folder: zipped(Evil(str(folder / "made")), folder / "x"), "is damaged, or holds more than tens"),
        (lambda whole, folder: zipped([1, 2], folder / "x"), "holds no weights"),
        (lambda whole, folder: zipped({"epoch": 3}, folder / "x"), "needs state_dict and optimizer"),
        (lambda whole, folder: zipped({"epoch": 3, "state_dict": 3}, folder / "x"), "needs state_dict and optimizer"),
        (lambda whole, folder: zipped({"epoch": "3", "state_dict": {}, "optimizer": {}}, folder / "x"), "got '3'"),
    ],
    ids=["empty", "junk", "half", "last byte", "header", "malicious", "list", "no weights", "not weights", "no number"],
)
def test_a_damaged_checkpoint_is_refused_before_a_model_is_made(
    change, says, checkpoint, shards, tiny_model, capsys, tmp_path
):
    path = tmp_path / "epoch_1.pt"
    path.write_bytes(change(checkpoint, tmp_path))
    line = resumed(capsys, train_arguments(shards, tiny_model, tmp_path / "logs", resume=path))
    assert f"error: --resume {path}: " in line
    assert says in line
    assert not (tmp_path / "made").exists()


def test_what_can_be_resumed_from_is_not_refused(checkpoint, shards, tiny_model, capsys, tmp_path, monkeypatch):
    path = tmp_path / "epoch_1.pt"
    arguments = train_arguments(shards, tiny_model, tmp_path / "logs", resume=path)
    assert resumed(capsys, arguments).endswith(f"--resume {path}: No such file or directory")
    path.write_bytes(checkpoint)
    assert resumed(capsys, arguments) == ""
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert resumed(capsys, arguments).endswith("was written by one process; open_clip cannot load it in several")
    monkeypatch.delenv("WORLD_SIZE")
    whole = torch.load(path, weights_only=True)
    torch.save(whole, path, _use_new_zipfile_serialization=False)  # as torch below 1.6 wrote it
    assert resumed(capsys, arguments) == ""
    torch.save(whole["state_dict"], path)
    assert resumed(capsys, arguments) == ""
    torch.save({**whole, "state_dict": {f"module.{name}": t for name, t in whole["state_dict"].items()}}, path)
    assert resumed(capsys, arguments) == ""


def test_the_latest_checkpoint_is_looked_at(checkpoint, shards, tiny_model, capsys, tmp_path):
    arguments = train_arguments(shards, tiny_model, tmp_path / "logs", resume="latest")
    assert resumed(capsys, arguments) == ""  # none yet: the run starts anew
    folder = tmp_path / "logs" / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "epoch_10.pt").write_bytes(checkpoint[:1000])
    assert f"{folder}/epoch_10.pt is cut off" in resumed(capsys, arguments)
    assert resumed(capsys, arguments).endswith("remove it, and the run starts anew")
    (folder / "epoch_8.pt").write_bytes(checkpoint)
    (folder / "epoch_9.pt").write_bytes(b"")
    assert resumed(capsys, arguments).endswith("remove it, and the run starts from epoch_8.pt")
    assert resumed(capsys, [*arguments, "--save-most-recent"]) == ""
    (folder / "epoch_latest.pt").write_bytes(b"")
    assert "epoch_latest.pt is empty" in resumed(capsys, [*arguments, "--save-most-recent"])
    (folder / "epoch_11.pt").write_bytes(checkpoint)
    (folder / "epoch_latest.pt").unlink()
    assert resumed(capsys, arguments) == ""


def test_another_models_checkpoint_is_refused_in_one_line(checkpoint, shards, capsys, tmp_path):
    import open_clip

    from sclip_plugin.errors import DataError
    from sclip_plugin.host import openclip3

    path = tmp_path / "epoch_1.pt"
    path.write_bytes(checkpoint)
    other = write_model(tmp_path / "other", "rn")
    assert resumed(capsys, train_arguments(shards, other, tmp_path / "logs", resume=path)) == ""
    with pytest.raises(DataError, match=r"--resume \S*epoch_1.pt: another model's weights: \S+ is"):
        openclip3.sclip.resumed.check_model(open_clip.create_model(other))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "kills"), [("convert", 3), ("train", 2)])
def test_kills_at_random_moments_change_nothing(kind, kills):
    """A few of what `python -m tests.faults.kills` does in numbers."""
    wanted = {"convert": 0, "train": 0, kind: kills}
    flags = [word for name, number in wanted.items() for word in (f"--{name}", str(number))]
    command = [sys.executable, "-m", "tests.faults.kills", *flags, "--seed", "1"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert run.returncode == 0, run.stdout + run.stderr[-2000:]
    found = re.search(rf"^{kind}: (\d+) kills, (\d+) resumed runs, .* 0 differences", run.stdout, re.MULTILINE)
    assert found, run.stdout
    assert int(found[1]) >= kills
    assert int(found[2]) >= 1
