"""The flags that say who does the work on shards: this machine, or a cluster."""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sclip_plugin.commands.flags.numbers import check_workers
from sclip_plugin.errors import UsageError
from sclip_plugin.shards.engines.engine import Engine
from sclip_plugin.shards.engines.local import Threads
from sclip_plugin.storage.places import absolute
from sclip_plugin.storage.urls import plain

LOCAL, RAY = "local", "ray"
ENGINES: Final = (LOCAL, RAY)
MOST_BY_DEFAULT: Final = 8  # ours: workers of this machine where the user says no number


def add_workers_argument(parser: argparse.ArgumentParser, what: str = "threads") -> None:
    """Add `--workers`; `what` they are on this machine."""
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help=f"{what} (default: cores, at most {MOST_BY_DEFAULT}), or with ray tasks at a time (default: the cluster's "
        "cores); same result for any",
    )


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--engine` and `--address`."""
    add = parser.add_argument
    add(
        "--engine",
        choices=ENGINES,
        default=LOCAL,
        help="who does the work: this machine (default), or a Ray cluster, with the same bytes",
    )
    add("--address", metavar="ADDRESS", help="for ray: the cluster (default: $RAY_ADDRESS, else one on this machine)")


def check_engine(args: argparse.Namespace) -> None:
    """Refuse flags of engines that have no meaning.

    Raises:
        UsageError: names the flag.
    """
    check_workers(args.workers)
    if args.engine == LOCAL and args.address is not None:
        raise UsageError(f"--address needs --engine {RAY}")


def seen(args: argparse.Namespace, place: str) -> str:
    """A place as those who do the work find it: a cluster needs paths from the root on."""
    return absolute(plain(place)) if args.engine == RAY else place


@contextmanager
def open_engine(args: argparse.Namespace, local: Callable[[int], Engine] = Threads) -> Iterator[Engine]:
    """The engine that the flags ask for.

    Args:
        args: of `add_engine_arguments`, with `workers`, which is None where the user did not say.
        local: makes the engine of this machine from a number of workers.

    Raises:
        UsageError: ray is not installed, or there is no such cluster.
    """
    if args.engine == LOCAL:
        yield local(args.workers or min(MOST_BY_DEFAULT, os.cpu_count() or 1))
        return
    from sclip_plugin.shards.engines.ray import connected

    with connected(args.address, args.workers) as engine:
        yield engine
