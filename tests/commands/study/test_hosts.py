"""A study on each host: a stock open_clip with the import hook, a patched one, one without the plugin."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sclip_plugin.commands.study import check, spec
from sclip_plugin.errors import UsageError
from tests.helpers.hosts import copy_host, patched_copy

NOT_ACTIVE = "the plugin is not active in this environment: see `sclip doctor`"


@pytest.fixture(scope="module")
def patched(tmp_path_factory) -> Path:
    """A folder for PYTHONPATH with a patched open_clip; not to be changed."""
    return patched_copy(tmp_path_factory.mktemp("patched"), importable=True)


@pytest.mark.parametrize("disabled", ["", "1"])
def test_a_patched_host_takes_an_sclip_arm(file, tmp_path, patched, monkeypatch, disabled):
    """The hooks stand down there, so that its parser is not wrapped; the variable switches off the hooks only."""
    monkeypatch.setenv("PYTHONPATH", str(patched))
    monkeypatch.setenv("SCLIP_PLUGIN_DISABLE", disabled)
    check.check_arms(spec.load(file, tmp_path / "o"), tmp_path / "o")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[arms.plain]", "[arms.plain]\nlrr = 3", "arms.plain: unrecognized arguments: --lrr 3"),
        ('loss = "sclip"', 'loss = "sclip"\nsiglip = true', "arms.full: --siglip does not work with --loss sclip"),
    ],
)
def test_a_patched_host_refuses_a_wrong_flag_of_an_arm(file, tmp_path, patched, monkeypatch, old, new, message):
    monkeypatch.setenv("PYTHONPATH", str(patched))
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(UsageError, match=f"^{message}"):
        check.check_arms(spec.load(file, tmp_path / "o"), tmp_path / "o")


@pytest.mark.slow
def test_a_study_runs_on_a_patched_host(file, tmp_path, patched):
    file.write_text(file.read_text().replace("[arms.plain]\n", "").replace('"plain"', '"full"').replace("= 3", "= 1"))
    command = [sys.executable, "-m", "sclip_plugin.cli", "study", str(file), "--out", str(tmp_path / "o"), "--trust"]
    environment = {**os.environ, "PYTHONPATH": str(patched), "SCLIP_PLUGIN_DISABLE": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "o" / "logs" / "train-full-4.log").read_text()
    assert "active by patched open_clip: B=16 U=16 K=5" in log
    assert "| full " in (tmp_path / "o" / "table.md").read_text()


def test_a_stock_host_with_the_hook_takes_an_sclip_arm(file, tmp_path):
    check.check_arms(spec.load(file, tmp_path / "o"), tmp_path / "o")


def test_a_stock_host_without_the_hook_refuses_every_sclip_arm(file, tmp_path, monkeypatch):
    monkeypatch.setenv("SCLIP_PLUGIN_DISABLE", "1")
    with pytest.raises(UsageError, match=f"^{NOT_ACTIVE}$"):
        check.check_arms(spec.load(file, tmp_path / "o"), tmp_path / "o")
    file.write_text(file.read_text().replace('[arms.full]\nloss = "sclip"\n', ""))
    check.check_arms(spec.load(file, tmp_path / "o"), tmp_path / "o")  # without such an arm nobody needs the plugin


def test_a_half_patched_host_refuses_every_sclip_arm(file, tmp_path, patched, monkeypatch):
    """Its parser is patched and knows `--loss sclip`, its `main` is not and would train plain CLIP."""
    host = copy_host(tmp_path / "host", importable=True)
    for path in ("plugins.py", "params.py"):
        (host / "open_clip_train" / path).write_bytes((patched / "open_clip_train" / path).read_bytes())
    monkeypatch.setenv("PYTHONPATH", str(host))
    with pytest.raises(UsageError, match=f"^{NOT_ACTIVE}$"):
        check.check_arms(spec.load(file, tmp_path / "o"), tmp_path / "o")
