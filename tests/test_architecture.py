"""The floors of docs/architecture.md: imports run one way, and no two files import each other by any way round."""

import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("sclip_plugin", cache_dir=None)


def test_the_graph_holds_the_linked_folders_too(graph):
    assert {"sclip_plugin.shards.conversion.index", "sclip_plugin.patches.diff"} <= graph.modules


def test_no_circle_between_files(graph):
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        list(TopologicalSorter(imports).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_import_against_the_floors():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("room", "stranger"),
    [
        ("sclip_plugin.loss", "sclip_plugin.data"),
        ("sclip_plugin.data", "sclip_plugin.loss"),
        ("sclip_plugin.training", "open_clip_train"),
        ("sclip_plugin.inspection", "open_clip_train"),
    ],
)
def test_what_must_not_know_what(room, stranger):
    """The loss knows no loader, the loader no loss; only the host module knows open_clip_train."""
    graph = grimp.build_graph("sclip_plugin", include_external_packages=True, cache_dir=None)
    users = {
        module
        for module in graph.modules
        if module.startswith(f"{room}.")
        for imported in graph.find_modules_directly_imported_by(module)
        if f"{imported}.".startswith(f"{stranger}.")
    }
    assert users == set()


def test_only_the_host_modules_and_what_asks_them_import_open_clip_train():
    graph = grimp.build_graph("sclip_plugin", include_external_packages=True, cache_dir=None)
    users = graph.find_modules_that_directly_import("open_clip_train")
    assert {user for user in users if not user.startswith("sclip_plugin.host")} <= {
        "sclip_plugin.main",  # runs it
        "sclip_plugin.commands.doctor",
        "sclip_plugin.commands.study.check",
    }
