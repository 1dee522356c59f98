"""Whole studies in processes of their own."""

import subprocess
import sys
from pathlib import Path


def start(file: Path, out: Path, *flags: str) -> "subprocess.Popen[str]":
    """Begin a study of a trusted file."""
    command = [sys.executable, "-m", "sclip_plugin.cli", "study", str(file), "--out", str(out), "--trust", *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
