"""Paths on a command line."""

import argparse
from pathlib import Path

from sclip_plugin.storage.urls import is_url, plain


def named_path(text: str) -> Path:
    """A path, for `type=` of an argument. An empty word, from an unset variable say, would mean the current folder.

    Raises:
        argparse.ArgumentTypeError: the word is empty, holds a null character, which no path can, or is the URL of a
            store, where this argument is not written to.
    """
    text = plain(text)
    if is_url(text):
        raise argparse.ArgumentTypeError(f"must name a file or folder of this machine, got {text!r}")
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError(f"must name a file or folder, got {text!r}")
    return Path(text)
