"""A killed conversion continues and gives the same bytes; what is not ours is not touched."""

import signal
import subprocess
import sys

import pytest

from tests.helpers.conversion import convert, source, tree

FLAGS = ("--shard-size", 5, "--workers", 1)
KILLED = """
import os, signal, sys
from sclip_plugin.cli import main
left, replace = int(sys.argv[1]), os.{call}
def last(*args):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(*args)
os.{call} = last
main(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = source(tmp_path_factory.mktemp("source"))
    assert convert(root, root / "whole", *FLAGS) == 0
    return root


@pytest.mark.parametrize(("call", "at"), [("fsync", 2), ("replace", 5), ("replace", 8), ("fsync", 20), ("replace", 32)])
def test_sigkill_and_resume(root, tmp_path, call, at):
    out = tmp_path / "out"
    words = ["convert", root / "captions.csv", "--images", root / "photos", "--out", out, *FLAGS]
    run = subprocess.run([sys.executable, "-c", KILLED.format(call=call), str(at), *map(str, words)], check=False)
    assert run.returncode == -signal.SIGKILL
    assert not (out / "manifest.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*.tar") if (out / ".progress").exists()}
    assert convert(root, out, *FLAGS) == 0
    assert tree(out) == tree(root / "whole")
    marked = [path for path, when in kept.items() if path.stat().st_mtime_ns == when]
    assert len(marked) >= len(kept) - 2  # all but those, one for each writing thread, that had no mark yet


def test_a_finished_conversion_is_not_repeated(root, capsys):
    before = {path: path.stat().st_mtime_ns for path in (root / "whole").rglob("*") if path.is_file()}
    assert convert(root, root / "whole", *FLAGS) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (root / "whole").rglob("*") if path.is_file()}
    assert "--loss sclip" in capsys.readouterr().out


def test_other_options_need_overwrite(root, tmp_path, capsys):
    assert convert(root, tmp_path / "a", *FLAGS) == 0
    assert convert(root, tmp_path / "a", "--seed", 1) == 1
    assert "made with other options or input" in capsys.readouterr().err
    assert convert(root, tmp_path / "a", "--seed", 1, "--overwrite") == 0
    assert convert(root, tmp_path / "b", "--seed", 1) == 0
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_foreign_folders_are_not_touched(root, tmp_path, capsys):
    (tmp_path / "paired").mkdir()
    (tmp_path / "paired/000000.tar").write_bytes(b"precious")
    for flags in ((), ("--overwrite",)):
        assert convert(root, tmp_path, *flags) == 1
        assert "something that sclip convert did not make" in capsys.readouterr().err
    assert (tmp_path / "paired/000000.tar").read_bytes() == b"precious"
