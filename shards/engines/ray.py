"""The machines of a Ray cluster: each item is a task, which Ray gives to a machine that has a core free.

Ray does a task again whose worker or machine is lost. The driver, which is the process of the command, holds a bounded
number of items and results, whatever their number in all. Needs ray: `pip install 'sclip-plugin[ray]'`.
"""

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from sclip_plugin._version import __version__
from sclip_plugin.errors import DataError, SClipError, UsageError
from sclip_plugin.shards.engines.engine import Item, Result
from sclip_plugin.storage import places

if TYPE_CHECKING:
    from ray import ObjectRef

AHEAD: Final = 4  # ours: items under way or waiting, as a multiple of the cluster's cores
IMAGES: Final = 2048  # ours: a task costs about a millisecond beside the work on them
CALL_SECONDS: Final = 10  # ours: within which a cluster must take a connection
RETRIES: Final = 5  # ours: times that an item is done again whose worker or machine was lost


@dataclass(frozen=True)
class _Raised:
    """Stands for the result of an item whose function found a fault of the user's data: nothing is tried again."""

    error: SClipError


def _call(function: Callable[[Item], Result], item: Item) -> Result | _Raised:
    """What a task does."""
    try:
        return function(item)
    except SClipError as error:
        return _Raised(error)


def _ask_machine(asked: Sequence[str]) -> tuple[str, list[str]]:
    """(version of this package, which of these places do not exist) on the machine that this runs on."""
    return __version__, [place for place in asked if not places.exists(place)]


@dataclass(frozen=True)
class RayEngine:
    """The cluster that this process is connected to.

    Attributes:
        workers: tasks at a time; None: as many as the cluster has cores.
    """

    workers: int | None = None
    remote: ClassVar[bool] = True
    images: ClassVar[int] = IMAGES

    @property
    def writers(self) -> "RayEngine":
        """The same: Ray gives each core one task."""
        return self

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """`function` of each item, in the items' order; see `Engine.map`.

        Raises:
            SClipError: the function raised it, or an item was lost `RETRIES` times.
        """
        ray = _ray()
        task = ray.remote(_call).options(num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD")
        shared = ray.put(function)  # once, and not with each item
        waiting: deque[ObjectRef] = deque()
        try:
            for item in items:
                self._wait_for_room(ray, waiting)
                waiting.append(task.remote(shared, item))
                if len(waiting) >= AHEAD * _cores(ray):
                    yield _result(ray, waiting.popleft())
            while waiting:
                yield _result(ray, waiting.popleft())
        finally:
            for one in waiting:  # after an error, or an interruption
                with suppress(Exception):  # the cluster may be what was lost
                    ray.cancel(one, force=True)

    def _wait_for_room(self, ray: ModuleType, waiting: Sequence["ObjectRef"]) -> None:
        """Wait until fewer than `workers` items are under way."""
        if self.workers is not None and len(waiting) >= self.workers:
            ray.wait(list(waiting), num_returns=len(waiting) - self.workers + 1)

    def check(self, asked: Sequence[str]) -> None:
        """See that every machine has this version of the package, and sees those of these places that this one sees.

        Raises:
            UsageError: a machine does not; names it.
        """
        ray = _ray()
        here = [place for place in asked if places.exists(place)]  # what is nowhere is told by who opens it
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        machines = [one for one in ray.nodes() if one["Alive"]]
        there = (NodeAffinitySchedulingStrategy(one["NodeID"], soft=False) for one in machines)
        task = ray.remote(_ask_machine)
        answers = [task.options(num_cpus=0, scheduling_strategy=place).remote(here) for place in there]
        for machine, answer in zip(machines, answers):
            name = machine["NodeManagerHostname"]
            try:
                version, missing = ray.get(answer)
            except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
                continue  # it was lost a moment ago, and Ray has just learned of it
            except ray.exceptions.RayError as error:
                raise UsageError(f"--engine ray: {name}: sclip-plugin does not run there: {_reason(error)}") from None
            if version != __version__:
                raise UsageError(f"--engine ray: {name} has sclip-plugin {version}, and this machine {__version__}")
            if missing:
                raise UsageError(
                    f"--engine ray: {name} does not see {', '.join(missing)}: give URLs, or paths on a disk that all "
                    "machines of the cluster share"
                )


def _result(ray: ModuleType, one: "ObjectRef") -> Any:
    """The result of an item.

    Raises:
        SClipError: its function raised it, or it was lost too often.
    """
    try:
        found = ray.get(one)
    except ray.exceptions.RayTaskError as error:
        raise cast(Exception, error.cause) from None
    except ray.exceptions.RayError as error:
        raise DataError(f"--engine ray: work was lost {RETRIES + 1} times: {_reason(error)}") from None
    if isinstance(found, _Raised):
        raise found.error
    return found


def _reason(error: Exception) -> str:
    """The last line of an error of Ray's, which says what happened."""
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)


def _cores(ray: ModuleType) -> int:
    """The cores of the cluster as it is now."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _ray() -> ModuleType:
    """The ray package.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise UsageError("--engine ray needs ray: pip install 'sclip-plugin[ray]'") from None
    return ray


def _call_up(address: str | None) -> None:
    """See that somebody listens at HOST:PORT: where nobody does, Ray tries for a minute and ends the process.

    Raises:
        UsageError: nobody does.
    """
    host, _, port = (address or "").rpartition(":")
    if not host or "://" in host or not port.isdecimal():
        return  # "auto", or an address of Ray's client: these fail at once
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CALL_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"--address {address}: no Ray cluster answers: {error}") from None


@contextmanager
def connected(address: str | None, workers: int | None = None) -> Iterator[RayEngine]:
    """The engine of a cluster, to which this process is connected meanwhile.

    Args:
        address: of the cluster, as Ray takes it; None: that of `RAY_ADDRESS`, else a cluster of this machine, which
            lives as long as the block.
        workers: tasks at a time; None: as many as the cluster has cores.

    Raises:
        UsageError: ray is not installed, or there is no cluster at the address.
    """
    ray = _ray()
    address = address or os.environ.get("RAY_ADDRESS")
    own = address is None
    _call_up(address)
    options: dict[str, object] = {"address": "local", "include_dashboard": False} if own else {"address": address}
    try:
        ray.init(**options, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        hint = "" if own or "RAY_AUTH_MODE" in os.environ else "; one that asks for a token needs RAY_AUTH_MODE=token"
        raise UsageError(f"--address {address}: no Ray cluster answers: {_reason(error)}{hint}") from None
    try:
        yield RayEngine(workers)
    finally:
        ray.shutdown()
