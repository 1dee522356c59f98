"""`sclip patch` on copies of the open_clip that is installed: what it changes, refuses, keeps and puts back."""

import base64
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from sclip_plugin import cli
from sclip_plugin.errors import DataError
from sclip_plugin.patches import change, releases
from sclip_plugin.patches.tree import read_tree
from tests.helpers.hosts import (
    INSTALLED,
    RELEASE,
    TOUCHED,
    VERSION,
    contents,
    copy_host,
    needs_patch,
    patch,
    patched_copy,
    snapshot,
)

pytestmark = needs_patch
ADDED = "open_clip_train/plugins.py"


@pytest.fixture
def host(tmp_path) -> Path:
    return copy_host(tmp_path / "site-packages")


@pytest.fixture(scope="module")
def patched(tmp_path_factory) -> Path:
    """A patched copy; not to be changed."""
    return patched_copy(tmp_path_factory.mktemp("patched"))


def put(source: Path, target: Path, paths) -> None:
    for path in paths:
        (target / path).unlink(missing_ok=True)
        if (source / path).is_file():
            shutil.copy2(source / path, target / path)


def test_recorded_hashes_are_those_of_the_published_wheel():
    files = importlib.metadata.files("open_clip_torch")
    published = {
        str(file): base64.urlsafe_b64decode(file.hash.value + "=").hex()
        for file in files
        if str(file).startswith("open_clip_train/") and str(file).endswith(".py")
    }
    assert published == RELEASE.stock


def test_every_release_is_recorded_with_a_patch_that_exists():
    versions = [version for release in releases.releases() for version in release.versions]
    assert versions == ["3.0.0", "3.1.0", "3.2.0", "3.3.0"]
    for release in releases.releases():
        assert release.path.is_file()
        assert next(iter(release.patched)) == ADDED
        assert list(release.patched)[-1] == "open_clip_train/main.py"


def test_apply_and_revert_give_the_same_bytes_modes_and_times(host, capsys):
    os.chmod(host / "open_clip_train" / "main.py", 0o640)
    before = snapshot(host)
    assert patch("apply", host) == 0
    said = capsys.readouterr().out
    assert all(path in said for path in TOUCHED)
    after = snapshot(host)
    assert {path for path in before if after[path] != before[path]} == set(TOUCHED) - {ADDED}
    for path, digest in RELEASE.patched.items():
        assert releases.sha256(after[path][0]) == digest
        if path != ADDED:
            assert after[path + change.ORIGINAL] == before[path]
            assert after[path][1] == before[path][1]
    subprocess.run([sys.executable, "-m", "compileall", "-q", host / "open_clip_train"], check=True)
    assert patch("revert", host) == 0
    assert not list(host.rglob("plugins*"))
    shutil.rmtree(host / "open_clip_train" / "__pycache__")
    assert snapshot(host) == before


def test_a_hard_link_elsewhere_keeps_the_stock_file(host, tmp_path):
    """Package managers link one cached file into many environments: writing in place would patch them all."""
    original = host / "open_clip_train" / "main.py"
    os.link(original, tmp_path / "cache.py")
    stock = original.read_bytes()
    assert patch("apply", host) == 0
    assert original.read_bytes() != stock
    assert (tmp_path / "cache.py").read_bytes() == stock


@pytest.mark.parametrize(
    ("action", "line", "files"),
    [
        ("apply", "+    plugin = get_plugin(args.loss)\n", f"--- /dev/null\n+++ b/{ADDED}\n"),
        ("revert", "-    plugin = get_plugin(args.loss)\n", f"--- a/{ADDED}\n+++ /dev/null\n"),
    ],
)
def test_a_dry_run_shows_the_change_and_makes_none(action, line, files, host, patched, capsys):
    if action == "revert":
        put(patched, host, TOUCHED)
    before = snapshot(host)
    assert patch(action, host, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert snapshot(host) == before
    assert line in shown
    assert files in shown


def test_the_shown_diff_is_the_change(host, patched, capsys, tmp_path):
    if not shutil.which("patch"):
        pytest.skip("no patch program here")
    patch("apply", host, "--dry-run")
    subprocess.run(["patch", "-p1", "-s"], input=capsys.readouterr().out, cwd=host, text=True, check=True)
    assert {path: contents(host)[path] for path in TOUCHED} == {path: contents(patched)[path] for path in TOUCHED}


def test_twice_is_nothing_to_do(host, capsys):
    assert patch("revert", host) == 0
    assert f"nothing to do, open_clip_torch {VERSION} is as released already" in capsys.readouterr().out
    patch("apply", host)
    before = snapshot(host)
    capsys.readouterr()
    assert patch("apply", host) == 0
    assert f"nothing to do, open_clip_torch {VERSION} is patched already" in capsys.readouterr().out
    assert snapshot(host) == before
    assert patch("revert", host) == patch("revert", host) == 0


@pytest.mark.parametrize("action", ["apply", "revert"])
@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_half_applied_tree_is_named_and_completed(action, done, host, patched, capsys):
    stock = contents(host)
    put(patched, host, TOUCHED[:done])
    assert patch("status", host) == 1
    said = capsys.readouterr().out
    assert "state    half-applied: a change was cut short" in said
    for i, path in enumerate(TOUCHED):
        assert re.search(rf"{'patched' if i < done else 'stock'} +{path}$", said, re.M)
    assert patch(action, host) == 0
    wanted = contents(patched) if action == "apply" else stock
    assert {path: contents(host).get(path) for path in TOUCHED} == {path: wanted.get(path) for path in TOUCHED}
    assert patch("revert", host) == 0
    assert contents(host) == stock


@pytest.mark.parametrize("failing", range(1, 8))
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_error_between_two_renames_leaves_the_tree_as_it_was(failing, error, host, monkeypatch, capsys):
    before = snapshot(host)
    calls, rename = iter(range(1, 100)), os.replace

    def replace(source, target):
        if next(calls) == failing:
            raise error
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    assert patch("apply", host) == 1
    monkeypatch.undo()
    said = capsys.readouterr().err
    assert ("No space left on device; nothing was changed" if isinstance(error, OSError) else "interrupted") in said
    assert snapshot(host) == before


def test_an_error_while_reverting_leaves_the_tree_patched(host, monkeypatch):
    patch("apply", host)
    before = snapshot(host)
    calls, rename = iter(range(1, 100)), os.replace

    def replace(source, target):
        if next(calls) == 3:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    assert patch("revert", host) == 1
    monkeypatch.undo()
    assert snapshot(host) == before


KILLED = """
import os, signal, sys
from sclip_plugin.cli import main
calls, rename = iter(range(1, 100)), os.replace
def replace(source, target):
    if next(calls) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)
os.replace = replace
main(["patch", sys.argv[2], "--target", sys.argv[3]])
"""


@pytest.mark.parametrize(
    ("action", "at", "state"),
    [("apply", 1, "stock"), ("apply", 6, "half-applied"), ("revert", 1, "patched"), ("revert", 2, "half-applied")],
)
def test_a_killed_process_leaves_what_either_command_completes(action, at, state, host, patched, capsys):
    before = contents(host)
    if action == "revert":
        patch("apply", host)
    run = subprocess.run([sys.executable, "-c", KILLED, str(at), action, str(host)])
    assert run.returncode == -signal.SIGKILL
    capsys.readouterr()
    patch("status", host)
    assert f"state    {state}:" in capsys.readouterr().out
    assert patch("apply", host) == 0
    assert contents(host) == contents(patched)
    subprocess.run([sys.executable, "-c", KILLED, str(at), "revert", str(host)])
    assert patch("revert", host) == 0
    assert contents(host) == before


@contextmanager
def unprivileged():
    """Root may write anywhere: be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("action", ["apply", "revert"])
def test_a_tree_that_cannot_be_written(action, host, patched):
    if action == "revert":
        put(patched, host, TOUCHED)
    before = snapshot(host)
    tree = read_tree(str(host))
    changes = getattr(change, f"plan_{action}")(tree)
    folder = host / "open_clip_train"
    closed = {path: path.stat().st_mode for path in (folder, *folder.parents) if path.stat().st_mode & 0o055 != 0o055}
    for path in closed:
        os.chmod(path, 0o755)
    os.chmod(folder, 0o555)
    try:
        with unprivileged(), pytest.raises(DataError, match=f"{folder}: Permission denied; nothing was changed"):
            getattr(change, action)(tree, changes)
    finally:
        for path, mode in {folder: 0o755, **closed}.items():
            os.chmod(path, mode)
    assert snapshot(host) == before


@pytest.mark.parametrize(
    ("path", "text", "word"),
    [
        ("open_clip_train/main.py", "# ours\n", "modified"),
        ("open_clip_train/data.py", "# ours\n", "modified"),
        (ADDED, "somebody's own\n", "modified"),
        ("open_clip_train/train.py", None, "missing"),
    ],
)
def test_files_that_are_not_the_releases_are_refused_by_name(path, text, word, host, capsys):
    if text is None:
        (host / path).unlink()
    else:
        (host / path).write_text(((host / path).read_text() if (host / path).exists() else "") + text)
    before = snapshot(host)
    assert patch("apply", host) == 1
    said = capsys.readouterr().err
    assert f"neither as in open_clip_torch {VERSION} nor as patched, so nothing was changed: {path} ({word})" in said
    assert patch("status", host) == 1
    assert re.search(rf"{word} +{path}$", capsys.readouterr().out, re.M)
    assert snapshot(host) == before


def test_revert_minds_only_the_files_that_the_patch_touches(host, capsys):
    before = contents(host)
    patch("apply", host)
    (host / "open_clip_train" / "data.py").write_text("# changed since\n")
    assert patch("status", host) == 0
    assert re.search(r"^state    patched.*\n +modified +open_clip_train/data.py$", capsys.readouterr().out, re.M)
    assert patch("revert", host) == 0
    assert {path: contents(host).get(path) for path in TOUCHED} == {path: before.get(path) for path in TOUCHED}


def test_an_edited_patched_file_is_not_overwritten(host, capsys):
    patch("apply", host)
    main = host / "open_clip_train" / "main.py"
    main.write_text(main.read_text() + "# changed since\n")
    before = snapshot(host)
    assert patch("revert", host) == 1
    assert "open_clip_train/main.py (modified)" in capsys.readouterr().err
    assert snapshot(host) == before


@pytest.mark.parametrize("loss", ["gone", "damaged"])
def test_reverts_without_the_kept_originals(loss, host):
    """As after `git apply` or `patch -p1` by hand."""
    before = contents(host)
    patch("apply", host)
    for kept in host.rglob("*" + change.ORIGINAL):
        kept.unlink() if loss == "gone" else kept.write_text("?")
    assert patch("revert", host) == 0
    assert contents(host) == before


def test_another_release_and_none(host, tmp_path, capsys):
    (host / "open_clip" / "version.py").write_text("__version__ = '3.9.1'\n")
    assert patch("apply", host) == 1
    known = "open_clip_torch 3.9.1 is not a release that a patch is known for (3.0.0, 3.1.0, 3.2.0, 3.3.0)"
    assert known in capsys.readouterr().err
    (host / "open_clip" / "version.py").unlink()
    assert patch("status", host) == 1
    assert "version.py: says no version, so the release is unknown" in capsys.readouterr().err
    assert patch("status", tmp_path) == 1
    assert f"--target {tmp_path}: holds no open_clip_train" in capsys.readouterr().err


def test_a_source_tree_is_found_below_src(tmp_path, patched):
    copy_host(tmp_path / "src")
    assert patch("apply", tmp_path) == 0
    assert contents(tmp_path / "src") == contents(patched)


def test_status_of_what_is_installed_is_the_default(capsys):
    assert cli.main(["patch", "status"]) == 0
    said = capsys.readouterr().out
    assert f"target   {INSTALLED}\nrelease  open_clip_torch {VERSION}\n" in said
    assert "state    stock" in said


def test_without_the_patch_library(host, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "patch_ng", None)
    before = snapshot(host)
    assert patch("status", host) == 0
    assert patch("apply", host) == 1
    assert "applying a patch needs patch-ng: pip install 'sclip-plugin[patch]'" in capsys.readouterr().err
    assert snapshot(host) == before


def test_a_patch_that_gives_other_bytes_than_recorded_changes_nothing(host, monkeypatch, capsys):
    monkeypatch.setitem(RELEASE.patched, "open_clip_train/params.py", "0" * 64)
    monkeypatch.setattr("sclip_plugin.patches.tree.release_of", lambda version: RELEASE)
    before = snapshot(host)
    assert patch("apply", host) == 1
    assert "does not give the open_clip_train/params.py that is recorded for it" in capsys.readouterr().err
    assert snapshot(host) == before
