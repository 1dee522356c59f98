"""A lock on a folder: held by one process at a time, and gone with the process."""

import signal
import subprocess
import sys

import pytest

from sclip_plugin.errors import UsageError
from sclip_plugin.locking import locked

fcntl = pytest.importorskip("fcntl")

HOLD = """
import sys, time
from pathlib import Path
from sclip_plugin.locking import locked
with locked(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_held_by_one_and_removed_at_the_end(tmp_path):
    path = tmp_path / "made/lock"
    with locked(path, "x"):
        with pytest.raises(UsageError, match="busy"), locked(path, "busy"):
            pass
        assert path.exists()
    assert not path.exists()
    with locked(path, "x"):
        pass


def test_what_a_killed_process_left_is_no_obstacle(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="busy"), locked(path, "busy"):
            pass
        process.send_signal(signal.SIGKILL)
    assert path.exists()
    with locked(path, "busy"):
        pass


def test_a_lock_file_that_was_replaced_counts_for_nothing(tmp_path, monkeypatch):
    """The holder removes the file between our opening it and our holding it; then somebody else makes it anew."""
    path, flock, left = tmp_path / "lock", fcntl.flock, [1]

    def replaced(*args):
        flock(*args)
        if left.pop():
            path.unlink()
            path.touch()
            left.append(0)
        else:
            left.append(0)

    monkeypatch.setattr(fcntl, "flock", replaced)
    with locked(path, "x"):
        other = open(path, "a+")  # noqa: SIM115
        with other, pytest.raises(BlockingIOError):
            flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked(tmp_path / "lock", "x"):
        pass
