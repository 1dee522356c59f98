"""Watching a command that runs beside the test."""

import subprocess
from pathlib import Path


def follow(path: Path, text: str, process: "subprocess.Popen[str]") -> None:
    """Wait until a line of the file holds the text; fails where the process ends before."""
    command = ["tail", "-n", "+1", "-F", f"--pid={process.pid}", str(path)]
    tail = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert tail.stdout is not None
    try:
        assert any(text in line for line in tail.stdout), process.stdout.read() if process.stdout else ""
    finally:
        tail.kill()
