"""How the plugin gets into a process, and that it stays out of all others."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.hosts import TOUCHED, copy_host, patched_copy
from tests.helpers.training import run_training, train_arguments


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


DDP_ON_CPU = """
import os, tempfile, torch
from torch import distributed as dist
from open_clip_train.params import parse_args
parse_args({arguments!r})
dist.init_process_group("gloo", rank=0, world_size=1, init_method="file://" + tempfile.mktemp())
try:
    torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2), device_ids=[torch.device("cpu")])
    print("DDP works")
except ValueError as error:
    print("refused:", str(error).split(".")[0])
"""


def test_ddp_on_the_cpu_is_stocks_unless_the_loss_is_ours(shards, tiny_model, tmp_path):
    """Without `--loss sclip` nothing changes, a refusal included."""
    stock = python(DDP_ON_CPU.format(arguments=["--train-data", "x.tar"]), SCLIP_PLUGIN_DISABLE="1").stdout
    assert stock.startswith("refused: ")
    assert python(DDP_ON_CPU.format(arguments=["--train-data", "x.tar"])).stdout == stock
    sclip = python(DDP_ON_CPU.format(arguments=train_arguments(shards, tiny_model, tmp_path)))
    assert sclip.stdout.strip() == "DDP works", sclip.stderr


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


@pytest.fixture(scope="module")
def patched(tmp_path_factory) -> Path:
    return patched_copy(tmp_path_factory.mktemp("patched"), importable=True)


ROUTE = (
    "import open_clip_train.main as m, sclip_plugin.host as h\n"
    "from open_clip_train.plugins import get_plugin; from sclip_plugin.host import openclip3\n"
    "print(h.route, hasattr(m.parse_args, '__wrapped__'), get_plugin('sclip') is openclip3.sclip,"
    " 'sclip_plugin.host.openclip3_hooks' in sys.modules)"
)


@pytest.mark.parametrize(
    "program",
    [f"import sys, torch\n{ROUTE}", f"import sys, sclip_plugin.host as h\nh.install('explicit main')\n{ROUTE}"],
    ids=["import hook", "explicit main"],
)
def test_the_hooks_stand_down_on_a_patched_host(program, patched):
    """It drives the very object that the hooks would drive."""
    run = python(program, PYTHONPATH=str(patched))
    assert run.stdout.strip() == "patched open_clip False True False", run.stderr


def test_doctor_on_a_patched_host_minds_no_hook(patched):
    run = doctor(PYTHONPATH=str(patched), SCLIP_PLUGIN_DISABLE="1", TORCH_DEVICE_BACKEND_AUTOLOAD="0")
    assert run.returncode == 0, run.stdout
    assert "works with open_clip_train.main, by its own plugin extension point (patched)" in run.stdout


def test_a_leftover_of_a_patch_does_not_make_the_hooks_stand_down(patched, tmp_path):
    """As after an upgrade of a patched open_clip: `plugins.py` stays behind, and nothing imports it."""
    host = copy_host(tmp_path, importable=True)
    (host / TOUCHED[0]).write_bytes((patched / TOUCHED[0]).read_bytes())
    program = "import open_clip_train.main as m; print(hasattr(m.parse_args, '__wrapped__'))"
    assert python(program, PYTHONPATH=str(host)).stdout.strip() == "True"


def test_a_half_patched_host_never_takes_the_flag_silently(patched, tmp_path):
    """`params` patched and `main` not would parse `--loss sclip` and train plain CLIP."""
    host = copy_host(tmp_path / "host", importable=True)
    for path in TOUCHED[:3]:
        (host / path).write_bytes((patched / path).read_bytes())
    reason = "open_clip_train is half patched: see `sclip patch status`; apply or revert completes it"
    arguments = ["--loss", "sclip", "--train-data", "x.tar", "--unpaired-data", "x.tar"]
    for module, status in (("open_clip_train.main", 2), ("sclip_plugin.main", 1)):
        run = run_training(arguments, module=module, env={"PYTHONPATH": str(host)})
        assert run.returncode == status
        assert run.stdout.strip().splitlines()[-1].endswith(reason)
    run = doctor(PYTHONPATH=str(host))
    assert run.returncode == 1
    assert f"problem: {reason}" in run.stdout
    assert "the explicit route" not in run.stdout
