"""The evaluation sets that a command line asks for, and how they are evaluated: flags, their checks, their values."""

import argparse
from collections import Counter

from sclip_plugin.errors import UsageError
from sclip_plugin.evaluation.evaluate import EvaluationOptions, NamedSet
from sclip_plugin.evaluation.names import CLASSIFICATION, PRECISIONS, RETRIEVAL, named_folder

SET_FLAGS = {CLASSIFICATION: "--zeroshot", RETRIEVAL: "--retrieval"}
# Ours: far above what serves a purpose, and far below what a machine can hold or wait for.
MOST_IMAGES, MOST_WORKERS, MOST_DRAWS = 1_000_000, 10_000, 1_000_000


def add_set_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--zeroshot`, `--retrieval`, and how the sets are evaluated."""
    for kind, flag in SET_FLAGS.items():
        parser.add_argument(flag, action="append", default=[], metavar="NAME=DIR", help=f"a {kind} set; repeatable")
    parser.add_argument("--batch-size", type=int, default=64, help="images or texts in a forward pass (default 64)")
    parser.add_argument("--workers", type=int, default=0, help="processes that decode images (default 0: this one)")
    parser.add_argument("--device", help="where the model runs (default: cuda where there is one, else cpu)")
    parser.add_argument("--precision", default="fp32", choices=PRECISIONS, help="as open_clip's (default fp32)")


def requested_sets(args: argparse.Namespace) -> tuple[NamedSet, ...]:
    """The sets that the command line names, classification sets first.

    Raises:
        UsageError: there is no set, one is not NAME=DIR, or two of one kind have one name.
    """
    given = {CLASSIFICATION: args.zeroshot, RETRIEVAL: args.retrieval}
    sets = [NamedSet(kind, *named_folder(text, SET_FLAGS[kind])) for kind, texts in given.items() for text in texts]
    if not sets:
        raise UsageError("nothing to evaluate: pass --zeroshot NAME=DIR or --retrieval NAME=DIR")
    for (kind, name), number in Counter((one.kind, one.name) for one in sets).items():
        if number > 1:
            raise UsageError(f"{SET_FLAGS[kind]} {name} is given twice")
    return tuple(sets)


def evaluation_options(args: argparse.Namespace, bootstrap: int | None = None) -> EvaluationOptions:
    """How the sets are to be evaluated.

    Args:
        args: the parsed flags of `add_set_arguments`.
        bootstrap: draws behind 95% intervals, None for no intervals.

    Raises:
        UsageError: a number is out of range.
    """
    if args.batch_size < 1 or args.workers < 0:
        raise UsageError("--batch-size must be at least 1 and --workers at least 0")
    for flag, most in (("batch_size", MOST_IMAGES), ("workers", MOST_WORKERS)):
        if getattr(args, flag) > most:
            raise UsageError(f"--{flag.replace('_', '-')} must be at most {most}, got {getattr(args, flag)}")
    if bootstrap is not None and not 2 <= bootstrap <= MOST_DRAWS:
        end = "at least 2" if bootstrap < 2 else f"at most {MOST_DRAWS}"
        raise UsageError(f"--bootstrap must be {end}, got {bootstrap}")
    return EvaluationOptions(device_of(args), args.batch_size, args.workers, args.precision, bootstrap)


def device_of(args: argparse.Namespace) -> str:
    """What `--device` says, else cuda where there is one, else cpu."""
    if args.device:
        return args.device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
