"""Watching a command that runs beside the test."""

import subprocess
from pathlib import Path


def follow(path: Path, text: str, process: subprocess.Popen) -> None:
    """Wait until a line of the file holds the text; fails where the process ends before."""
    command = ["tail", "-n", "+1", "-F", f"--pid={process.pid}", str(path)]
    tail = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert any(text in line for line in tail.stdout), process.stdout.read()
    finally:
        tail.kill()
