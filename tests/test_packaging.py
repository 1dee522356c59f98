"""The wheel holds every module and data file of the checkout, and nothing lands outside `sclip_plugin`."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TREES = {"sclip_plugin": "sclip_plugin", "shards": "sclip_plugin/shards", "patches": "sclip_plugin/patches"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in TREES:
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(work), str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return next(work.glob("*.whl"))


def test_the_wheel_holds_the_checkout(wheel):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        f"{target}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, target in TREES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not {"__pycache__"} & set(path.parts)
    }
    assert packed == expected


def test_a_plain_install_works_from_the_checkout_and_elsewhere(wheel, tmp_path):
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path), str(wheel)]
    subprocess.run(command, check=True)
    assert {path.name for path in tmp_path.iterdir()} >= {"sclip_plugin"}
    assert not {"shards", "patches", "tests"} & {path.name for path in tmp_path.iterdir()}
    program = (
        "import sys, sclip_plugin.shards, sclip_plugin.patches, sclip_plugin.cli as c\n"
        "from importlib import import_module\n"
        "[import_module(f'sclip_plugin.commands.{name}') for name in c.COMMANDS]\n"
        "print(sclip_plugin.shards.__file__)"
    )
    for folder in (ROOT, tmp_path):
        run = subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder,
            env={"PYTHONPATH": "" if folder == ROOT else str(tmp_path), "PATH": "", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        assert str(folder) in run.stdout
