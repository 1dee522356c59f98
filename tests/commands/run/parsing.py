"""The request that a command line of `sclip run` makes."""

import argparse

from sclip_plugin.commands import run
from sclip_plugin.commands.run.request import Request, request_of


def parsed(words: list[str]) -> Request:
    """The request of these words, without the command's name."""
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    return request_of(parser.parse_args(words))
