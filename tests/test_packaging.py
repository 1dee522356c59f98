"""The wheel holds every module and data file of the checkout, and nothing lands outside `sclip_plugin`."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TREES = {"sclip_plugin": "sclip_plugin", "shards": "sclip_plugin/shards", "patches": "sclip_plugin/patches"}


USER = """
from sclip_plugin import SClipLoss, Vocabulary
from sclip_plugin.transport import sinkhorn

reveal_type(SClipLoss(pseudo_label="hard-image").settings.sinkhorn_iterations)
reveal_type(Vocabulary(["tree"]).indices("a tree"))
reveal_type(sinkhorn)
SClipLoss(caption_weight="much")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
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


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(wheel)]
    subprocess.run(command, check=True)
    return folder


def mypy(*arguments, folder: Path, cwd: Path) -> subprocess.CompletedProcess:
    """mypy with the project's settings on what is installed in `folder`, seen from elsewhere."""
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env={"MYPYPATH": str(folder), "PATH": ""}, capture_output=True, text=True)


def test_types_hold_on_an_installed_copy(installed, tmp_path):
    done = mypy("-p", "sclip_plugin", folder=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_a_users_program_sees_the_types(installed, tmp_path):
    (tmp_path / "user.py").write_text(USER)
    said = mypy(tmp_path / "user.py", folder=installed, cwd=tmp_path).stdout
    assert 'Revealed type is "int"' in said, said
    assert 'Revealed type is "list[int]"' in said
    assert "-> sclip_plugin.loss.transport.Transport" in said
    assert said.count("error:") == 1
    assert 'Argument "caption_weight" to "SClipLoss" has incompatible type "str"; expected "float"' in said
