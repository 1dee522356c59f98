"""The wheel holds all of the package and nothing beside it; the source distribution also tests, pages and tools."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# in a checkout, links in `sclip_plugin` lead to the last two; in an unpacked source distribution they are real folders
TREES = {"sclip_plugin": "sclip_plugin", "shards": "sclip_plugin/shards", "patches": "sclip_plugin/patches"}
TREES = {name: target for name, target in TREES.items() if (ROOT / name).is_dir()}
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "NOTICE")
LINK = re.compile(r"\]\((?!https?://)([^)\s]*)\)")

USER = """
from sclip_plugin import SClipLoss, Vocabulary
from sclip_plugin.transport import sinkhorn

reveal_type(SClipLoss(pseudo_label="hard-image").settings.sinkhorn_iterations)
reveal_type(Vocabulary(["tree"]).indices("a tree"))
reveal_type(sinkhorn)
SClipLoss(caption_weight="much")
"""


def copied(source: Path) -> Path:
    """The package of the checkout in a folder of its own."""
    source.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, source)
    for name in TREES:
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return source


def build(kind: str, source: Path, out: Path) -> None:
    command = [sys.executable, "-m", "build", kind, "--no-isolation", "--outdir", str(out), str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    work = tmp_path_factory.mktemp("wheel")
    build("--wheel", copied(work / "source"), work)
    return next(work.glob("*.whl"))


def packed(wheel: Path) -> set[str]:
    """The files of a wheel but for its metadata."""
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_the_checkout(wheel):
    expected = {
        f"{target}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, target in TREES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not {"__pycache__"} & set(path.parts)
    }
    assert packed(wheel) == expected


BESIDE = ("benchmarks", "docs", "tests", "tools")
PAGES = ("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "Makefile")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    """The source distribution of the checkout, unpacked."""
    work = tmp_path_factory.mktemp("sdist")
    source = copied(work / "source")
    for name in PAGES:
        shutil.copy(ROOT / name, source)
    for name in BESIDE:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build("--sdist", source, work)
    with tarfile.open(next(work.glob("*.tar.gz"))) as archive:
        archive.extractall(work / "unpacked", filter="data")
    return next((work / "unpacked").iterdir())


def files(root: Path, folders) -> set[str]:
    """Names below `root` of the files in these folders of it."""
    return {
        path.relative_to(root).as_posix()
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_source_distribution_is_complete(unpacked, wheel, tmp_path):
    assert files(unpacked, BESIDE) == files(ROOT, BESIDE)
    assert {path.name for path in unpacked.iterdir()} >= {*FILES, *PAGES, "PKG-INFO"}
    build("--wheel", unpacked, tmp_path)
    assert packed(next(tmp_path.glob("*.whl"))) == packed(wheel)


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


def test_the_package_index_gets_a_readme_without_dead_links(wheel):
    found = metadata(wheel)
    assert found["Description-Content-Type"] == "text/markdown"
    text = str(found.get_payload())
    assert "--loss sclip" in text
    assert "](https://arxiv.org/abs/2305.14095)" in text
    assert LINK.findall(text) == []
    assert any(one.endswith("Python :: 3.10") for one in found.get_all("Classifier"))


def test_links_lead_to_the_repository_once_it_is_named(tmp_path):
    spec = spec_from_file_location("readme_of_a_release", ROOT / "setup.py")
    setup = module_from_spec(spec)
    spec.loader.exec_module(setup)
    text = "![a](docs/a.png) and [b](docs/b.md#c), [d](https://e.org/f), [g](#h)"
    expected = (
        "![a](https://host/us/it/raw/1.2/docs/a.png) and [b](https://host/us/it/blob/1.2/docs/b.md#c), "
        "[d](https://e.org/f), [g](#h)"
    )
    assert setup.indexed(text, "https://host/us/it/", "1.2") == expected
    assert setup.indexed(text, None, "1.2") == " and b, [d](https://e.org/f), [g](#h)"
    links = [link for link in LINK.findall((ROOT / "README.md").read_text()) if not link.startswith("#")]
    assert links
    assert all((ROOT / link.partition("#")[0]).exists() for link in links)


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
