"""The evaluation sets that a command line asks for, and how they are evaluated: flags, their checks, their values."""

import argparse
from collections import Counter
from collections.abc import Mapping
from typing import Final

from sclip_plugin.errors import UsageError
from sclip_plugin.evaluation.evaluate import EvaluationOptions, NamedSet
from sclip_plugin.evaluation.names import (
    CLASSIFICATION,
    KNN,
    LINEAR_PROBE,
    PRECISIONS,
    PREFIXES,
    REGIONS,
    RETRIEVAL,
    named_folder,
)

SET_FLAGS: Final = {CLASSIFICATION: "--zeroshot", RETRIEVAL: "--retrieval"}
#: the flags of sets that ask what else the images are good for, with their help
TRANSFER_FLAGS: Final = {KNN: "--knn", LINEAR_PROBE: "--linear-probe", REGIONS: "--regions"}
_HELP: Final = {
    CLASSIFICATION: "classification sets",
    RETRIEVAL: "retrieval sets",
    KNN: "classification sets, by the nearest images",
    LINEAR_PROBE: "classification sets, by a linear layer on image features",
    REGIONS: "pictures with boxes and captions (COCO), by retrieval within each picture",
}
MOST_SHOTS: Final = 100_000  # ours
# Ours: far above what serves a purpose, and far below what a machine can hold or wait for.
MOST_IMAGES, MOST_WORKERS, MOST_DRAWS = 1_000_000, 10_000, 1_000_000


def add_set_arguments(parser: argparse.ArgumentParser, transfer: bool = False) -> None:
    """Declare `--zeroshot`, `--retrieval`, and how the sets are evaluated.

    Args:
        parser: the command's.
        transfer: declare `--knn`, `--linear-probe`, `--regions` and `--shots` too.
    """
    for kind, flag in (SET_FLAGS | TRANSFER_FLAGS if transfer else SET_FLAGS).items():
        parser.add_argument(
            flag, nargs="+", action="extend", default=[], metavar="NAME=DIR", help=f"{_HELP[kind]}; DIR names itself"
        )
    if transfer:
        parser.add_argument(
            "--shots", nargs="+", type=int, default=[], metavar="K", help="kNN and probe from K images a class too"
        )
    parser.add_argument("--batch-size", type=int, default=64, help="images or texts in a forward pass (default 64)")
    parser.add_argument("--workers", type=int, default=0, help="processes that decode images (default 0: this one)")
    parser.add_argument("--device", help="where the model runs (default: cuda where there is one, else cpu)")
    parser.add_argument("--precision", choices=PRECISIONS, help="as open_clip's (default: RUN's, else fp32)")


def requested_sets(args: argparse.Namespace) -> tuple[NamedSet, ...]:
    """The sets that the command line names, classification sets first.

    Raises:
        UsageError: there is no set, one is not NAME=DIR, two of one kind have one name, or `--shots` is out of range or
            has nothing to act on.
    """
    flags = {kind: flag for kind, flag in (SET_FLAGS | TRANSFER_FLAGS).items() if hasattr(args, _attribute(flag))}
    sets = [
        NamedSet(kind, *named_folder(text, flag))
        for kind, flag in flags.items()
        for text in getattr(args, _attribute(flag))
    ]
    if not sets:
        raise UsageError("nothing to evaluate: pass --zeroshot NAME=DIR or --retrieval NAME=DIR")
    _refuse_repeated(sets, flags)
    return tuple(sorted([*sets, *_few_shot(args, sets)], key=lambda one: list(flags).index(one.kind)))


def _attribute(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def _refuse_repeated(sets: list[NamedSet], flags: Mapping[str, str]) -> None:
    for (kind, name), number in Counter((one.kind, one.name) for one in sets).items():
        if number > 1:
            raise UsageError(f"{flags[kind]} {name} is given twice")


def _few_shot(args: argparse.Namespace, sets: list[NamedSet]) -> list[NamedSet]:
    """The sets that are asked again with a few images of each class."""
    shots = list(dict.fromkeys(getattr(args, "shots", [])))
    for number in shots:
        if not 1 <= number <= MOST_SHOTS:
            raise UsageError(f"--shots must be from 1 to {MOST_SHOTS}, got {number}")
    classified = [one for one in sets if one.kind in PREFIXES]
    if shots and not classified:
        raise UsageError("--shots does nothing without --knn or --linear-probe")
    return [NamedSet(one.kind, one.name, one.folder, number) for one in classified for number in shots]


def evaluation_options(args: argparse.Namespace, precision: str, bootstrap: int | None = None) -> EvaluationOptions:
    """How the sets are to be evaluated.

    Args:
        args: the parsed flags of `add_set_arguments`.
        precision: the model's, one of `names.PRECISIONS`.
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
    return EvaluationOptions(device_of(args), args.batch_size, args.workers, precision, bootstrap)


def device_of(args: argparse.Namespace) -> str:
    """What `--device` says, else cuda where there is one, else cpu."""
    if args.device:
        return args.device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
