"""What `sclip` says of its commands."""

import subprocess
import sys
from importlib import import_module

import pytest

from sclip_plugin import cli

HELP = """
import sys
from sclip_plugin import cli
try:
    cli.main([sys.argv[1], "--help"])
except SystemExit as stopped:
    heavy = sorted({"torch", "open_clip", "matplotlib"} & set(sys.modules))
    print("STATUS", stopped.code, "HEAVY", heavy)
"""


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_has_an_example_and_loads_nothing_heavy(command):
    run = subprocess.run([sys.executable, "-c", HELP, command], capture_output=True, text=True)
    assert run.stdout.splitlines()[-1] == "STATUS 0 HEAVY []", run.stderr
    assert f"\n    sclip {command}" in run.stdout


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_a_command_is_the_module_of_its_name(command):
    module = import_module(f"sclip_plugin.commands.{command}")
    first, blank, *_ = module.__doc__.splitlines()
    assert first.endswith((".", "?"))
    assert blank == ""
    assert callable(module.add_arguments)
    assert callable(module.run)


def test_a_wrong_command_is_refused():
    with pytest.raises(SystemExit, match="2"):
        cli.main(["convertt"])
