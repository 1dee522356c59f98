"""The `sclip` command: a table of subcommands, each in a module of its own that is imported only when it is asked for.

A command's module offers `add_arguments(parser)` and `run(args) -> int | None`, and a module docstring whose first line
is its one-line help. Errors derived from `SClipError` are printed in one line; bad usage exits 2, failures exit 1.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from sclip_plugin._version import __version__
from sclip_plugin.errors import SClipError, UsageError

# Each command's one-line help; the command is the module or package of that name in `sclip_plugin.commands`.
COMMANDS = {
    "convert": "turn captions and images into paired/, unpaired/ and val/ shards",
    "split": "give shards another share of pairs, without decoding",
    "verify": "decode every image of shards; check keys, captions, counts and hashes",
    "keywords": "find keywords in the captions of paired shards",
    "eval": "evaluate a checkpoint by zero-shot classification and retrieval",
    "study": "train and evaluate arms with several seeds, compare them, write a report",
    "checkup": "say before training whether S-CLIP can help on these pairs and unpaired images",
    "run": "go from shards to a chosen, exported model: check-up, keywords, training, table, report",
    "inspect": "show unpaired images with their pseudo-captions",
    "wiseft": "choose a model between start and tuned model, against forgetting",
    "export": "write a model as a folder that open_clip, ONNX runtimes and the Hub take as it is",
    "demo": "go the whole way on an embedded data set",
    "patch": "give open_clip a plugin extension point, for sites without hooks",
    "doctor": "say whether the plugin is active here, by which route, and if not, why",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script.

    Args:
        argv: the command line without the program's name; None stands for this process's.

    Returns:
        The exit status: 0 (done), 1 (the data or the run failed) or 2 (wrong usage).
    """
    _print_anything()
    try:
        args = _parse(sys.argv[1:] if argv is None else list(argv))
        return _run(args)
    except KeyboardInterrupt:  # while the command's module was imported
        print("sclip: interrupted", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _print_anything() -> None:
    """Let what the terminal's encoding lacks, and file names that are no UTF-8, be printed as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _one_line(error: Exception) -> str:
    """The message of an error; names in it may hold line ends, which become spaces, and others that become escapes."""
    text = " ".join(part.strip() for part in str(error).splitlines())
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _parse(argv: list[str]) -> argparse.Namespace:
    """Parse the arguments; only the module of the command asked for is imported."""
    parser = argparse.ArgumentParser(prog="sclip", description="Prepare data for S-CLIP runs, check and evaluate them.")
    parser.add_argument("--version", action="version", version=f"sclip-plugin {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    wanted = next((word for word in argv if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        if name != wanted:
            subparsers.add_parser(name, help=summary)
            continue
        command = import_module(f"sclip_plugin.commands.{name}")
        sub = subparsers.add_parser(
            name, help=summary, description=command.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    args, rest = parser.parse_known_args(argv)
    if rest and hasattr(args, "source") and not any(word.startswith("-") for word in rest):
        args.source += rest  # argparse takes positional words from one place only; --recipe a A --recipe b B has two
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return args


def _run(args: argparse.Namespace) -> int:
    """The command's exit status; errors that the user or the machine caused are printed in one line."""
    try:
        return args.run(args) or 0
    except UsageError as error:
        print(f"sclip {args.command}: {_one_line(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        raise
    except (SClipError, OSError) as error:
        print(f"sclip {args.command}: {_one_line(error)}", file=sys.stderr)
        return 1
    except (RuntimeError, MemoryError) as error:
        from sclip_plugin.training.failures import explain

        known = explain(error)
        if known is None:
            raise
        print(f"sclip {args.command}: {known}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"sclip {args.command}: interrupted; run the same command again to continue", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
