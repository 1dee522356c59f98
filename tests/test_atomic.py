"""Small files appear whole or not at all."""

import errno
import os

import pytest

from sclip_plugin.atomic import write_atomic
from sclip_plugin.errors import DataError


def test_text_and_bytes_in_folders_that_are_made(tmp_path):
    write_atomic(tmp_path / "a" / "b.txt", "\u00e9")
    write_atomic(tmp_path / "a" / "b.bin", b"\0")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"\xc3\xa9"
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"b.txt", "b.bin"}


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_names_the_file_keeps_the_old_one_and_leaves_nothing(step, tmp_path, monkeypatch):
    path = tmp_path / "keywords.txt"
    write_atomic(path, "old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(DataError, match=r"keywords\.txt: No space left on device$"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "x", "text")
    assert list(tmp_path.iterdir()) == []
