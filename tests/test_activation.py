"""How the plugin gets into a process, and that it stays out of all others."""

import subprocess
import sys

import pytest
from conftest import run_training


def python(program: str, **env) -> subprocess.CompletedProcess:
    import os

    return subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **env}, capture_output=True, text=True, timeout=120
    )


def test_import_torch_loads_nothing_but_the_hook():
    program = (
        "import sys, torch\n"
        "mine = sorted(m for m in sys.modules if m.startswith('sclip_plugin'))\n"
        "print(mine, 'open_clip' in sys.modules, 'open_clip_train' in sys.modules)"
    )
    run = python(program)
    assert run.stdout.split("\n")[0] == (
        "['sclip_plugin', 'sclip_plugin._version', 'sclip_plugin.autoload'] False False"
    ), run.stderr


def test_open_clip_alone_is_untouched():
    program = "import torch, open_clip; print(hasattr(open_clip.create_loss, '__wrapped__'))"
    assert python(program).stdout.strip() == "False"


@pytest.mark.parametrize(
    "order", ["import torch, open_clip, open_clip_train.main as m", "import open_clip_train.main as m"]
)
def test_training_is_hooked_whatever_is_imported_first(order):
    names = ["parse_args", "create_loss", "create_model_and_transforms", "get_data", "train_one_epoch"]
    program = f"{order}\nprint([hasattr(getattr(m, n), '__wrapped__') for n in {names!r}])"
    run = python(program)
    assert run.stdout.strip() == str([True] * 5), run.stderr


def test_disabled_by_the_environment():
    program = "import open_clip_train.main as m; print(hasattr(m.parse_args, '__wrapped__'))"
    assert python(program, SCLIP_PLUGIN_DISABLE="1").stdout.strip() == "False"


def test_registering_twice_hooks_once():
    program = (
        "import torch; from sclip_plugin.autoload import register; register(); register()\n"
        "import open_clip_train.params as p; print(hasattr(p.parse_args.__wrapped__, '__wrapped__'))"
    )
    assert python(program).stdout.strip() == "False"


def test_an_error_while_hooking_does_not_break_torch():
    program = "import sys; sys.modules['wrapt'] = None; import torch; print('torch works')"
    run = python(program)
    assert run.stdout.strip() == "torch works"
    assert "sclip_plugin: not active" in run.stderr


def test_help_shows_the_flags_in_a_group_of_their_own():
    run = run_training(["--help"])
    group = run.stdout.split("S-CLIP:")[1]
    for flag in ("--loss {clip,sclip}", "--unpaired-data", "--keywords", "--sclip-pseudo-label", "--zeroshot-data"):
        assert flag in group


def test_another_major_version_is_refused_with_both_versions():
    program = (
        "import importlib.metadata as im, sys\n"
        "real = im.version\n"
        "im.version = lambda name: '4.2.0' if name == 'open_clip_torch' else real(name)\n"
        "sys.argv = ['main', '--loss', 'sclip']\n"
        "import torch, open_clip_train.params"
    )
    run = python(program)
    assert run.returncode == 1
    assert "supports open_clip_torch 3.x, but open_clip_torch 4.2.0 is installed" in run.stderr


def doctor(**env):
    return python("import sys; from sclip_plugin.cli import main; sys.exit(main(['doctor']))", **env)


def test_doctor_says_active_or_why_not():
    run = doctor()
    assert run.returncode == 0, run.stdout
    assert "active: `--loss sclip` works" in run.stdout
    run = doctor(SCLIP_PLUGIN_DISABLE="1")
    assert run.returncode == 1
    assert "problem: SCLIP_PLUGIN_DISABLE=1 switches the plugin off" in run.stdout
    run = doctor(TORCH_DEVICE_BACKEND_AUTOLOAD="0")
    assert run.returncode == 1
    assert "problem: TORCH_DEVICE_BACKEND_AUTOLOAD=0 keeps torch from loading plugins" in run.stdout
    assert "torchrun -m sclip_plugin.main" in run.stdout
