"""Paths on a command line."""

import argparse
from pathlib import Path


def named_path(text: str) -> Path:
    """A path, for `type=` of an argument. An empty word, from an unset variable say, would mean the current folder.

    Raises:
        argparse.ArgumentTypeError: the word is empty, or holds a null character, which no path can.
    """
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError(f"must name a file or folder, got {text!r}")
    return Path(text)
