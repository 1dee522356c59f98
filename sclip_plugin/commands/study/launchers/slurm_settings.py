"""What is asked of Slurm for each job, from the command line's flags."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from sclip_plugin.commands.study.spec import Study
from sclip_plugin.errors import UsageError

Parameter: TypeAlias = str | int | bool | list[str] | dict[str, str | bool]

WORKERS: Final = 4  # open_clip's default of --workers
LISTS: Final = ("setup", "teardown", "srun_args")  # submitit's own parameters that hold several texts
GPU_PARAMETERS: Final = ("gres", "gpus", "gpus_per_node", "gpus_per_task", "gpus_per_socket")
SET_BY_FLAG: Final = {"partition": "--slurm-partition", "time": "--time", "array_parallelism": "--jobs"}
# a job of a study is one task on one node whose files submitit names and whose number it reads
SET_BY_STUDY: Final = (
    *("array", "chdir", "error", "input", "nodes", "ntasks", "ntasks_per_node", "open_mode", "output", "parsable"),
    *("signal", "test_only", "wait", "wrap", "stderr_to_stdout", "use_srun", "map_count"),
)
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d+){0,2})")


@dataclass(frozen=True)
class SlurmSettings:
    """What is asked of Slurm for each job.

    Attributes:
        minutes: the time limit.
        partition: the partition; None leaves that to the cluster.
        gpus: GPUs; None asks for one for each process of a run, or for none where all arms train on the CPU.
        parallel: jobs at a time; None for all.
        others: further parameters by name, with underscores; True for those without a value, and lists for those of
            submitit that hold several texts.
    """

    minutes: int
    partition: str | None = None
    gpus: int | None = None
    parallel: int | None = None
    others: tuple[tuple[str, str | bool | list[str]], ...] = ()

    def check(self, study: Study) -> None:
        """Refuse fewer GPUs than a run has processes; raises `UsageError`."""
        if self.gpus and self.gpus < study.processes:
            raise UsageError(f"--gpus {self.gpus}: each run has {study.processes} processes, and each needs a GPU")

    def parameters(self, study: Study) -> dict[str, Parameter]:
        """The parameters of submitit's executor for Slurm."""
        known = dict(self.others)
        gpus = _gpus(study) if self.gpus is None else self.gpus
        found: dict[str, Parameter] = {"job_name": f"sclip-{study.source.stem}", "time": self.minutes}
        if self.partition:
            found["partition"] = self.partition
        if gpus and not any(name in known for name in GPU_PARAMETERS):
            found["gpus_per_node"] = gpus
        if not any(name in known for name in ("cpus_per_task", "cpus_per_gpu")):
            found["cpus_per_task"] = _cpus(study)
        if self.parallel:
            found["array_parallelism"] = self.parallel
        found |= {name: value for name, value in known.items() if isinstance(value, list)}
        if "signal_delay_s" in known:
            found["signal_delay_s"] = int(str(known["signal_delay_s"]))
        rest = {n: v for n, v in known.items() if not isinstance(v, list) and n != "signal_delay_s"}
        if rest:
            found["additional_parameters"] = rest
        return found


def read_settings(
    time: str, partition: str | None, gpus: str | None, parallel: int | None, parameters: Sequence[str]
) -> SlurmSettings:
    """The settings that flags ask for.

    Args:
        time: a time limit as Slurm writes it, for instance `90`, `4:00:00` or `1-12`.
        partition: of --slurm-partition.
        gpus: the number of --gpus.
        parallel: of --jobs.
        parameters: `KEY=VALUE` or `KEY` of each --slurm-parameter.

    Raises:
        UsageError: one of them cannot work; names it.
    """
    if gpus is not None and not gpus.isdecimal():
        raise UsageError(f"--gpus must be a number of GPUs for each job with --launcher slurm, got {gpus!r:.60}")
    others = _others(parameters)
    if gpus is not None and any(name in others for name in GPU_PARAMETERS):
        raise UsageError("--gpus does not work with a --slurm-parameter for GPUs: give one of them")
    number = None if gpus is None else int(gpus)
    return SlurmSettings(minutes(time), partition, number, parallel, tuple(others.items()))


def minutes(text: str) -> int:
    """A time limit in Slurm's ways to write it, in whole minutes, rounded up.

    They are M, M:S, H:M:S, D-H, D-H:M and D-H:M:S.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise UsageError(f"--time must be minutes, H:MM:SS, D-H or D-HH:MM:SS, got {text!r:.60}")
    parts = [int(part) for part in found["rest"].split(":")]
    if found["days"] is not None:
        hours, minute, second = [*parts, 0, 0][:3]
    else:
        hours, minute, second = [(0, parts[0], 0), (0, *parts), tuple(parts)][len(parts) - 1]
    whole = math.ceil((((int(found["days"] or 0) * 24 + hours) * 60 + minute) * 60 + second) / 60)
    if whole < 1:
        raise UsageError(f"--time must be at least a minute, got {text!r:.60}")
    return whole


def _others(parameters: Sequence[str]) -> dict[str, str | bool | list[str]]:
    found: dict[str, str | bool | list[str]] = {}
    for text in parameters:
        key, equals, value = text.partition("=")
        name = key.strip().removeprefix("--").replace("-", "_")
        _check_name(name, text, value if equals else None)
        if name in LISTS:
            found[name] = [*_list(found.get(name)), value]
        elif name in found:
            raise UsageError(f"--slurm-parameter {key}: given twice")
        else:
            found[name] = value if equals else True
    return found


def _list(value: str | bool | list[str] | None) -> list[str]:
    return value if isinstance(value, list) else []


def _check_name(name: str, text: str, value: str | None) -> None:
    if not name.replace("_", "").isalnum() or "\n" in text:
        raise UsageError(f"--slurm-parameter must be KEY=VALUE or KEY, in one line, got {text!r:.60}")
    if name in SET_BY_FLAG:
        raise UsageError(f"--slurm-parameter {name}: use {SET_BY_FLAG[name]}")
    if name in SET_BY_STUDY:
        raise UsageError(f"--slurm-parameter {name}: is set by the study")
    if name == "signal_delay_s" and not (value or "").isdecimal():
        raise UsageError(f"--slurm-parameter {name} must be a number of seconds, got {value!r:.60}")
    if name in LISTS and value is None:
        raise UsageError(f"--slurm-parameter {name}: needs a value")


def _gpus(study: Study) -> int:
    """A GPU for each process of a run, unless all arms train on the CPU."""
    return 0 if all(arm.flags.get("device") == "cpu" for arm in study.arms.values()) else study.processes


def _cpus(study: Study) -> int:
    """A CPU for each process of a run and for each of its loader's workers."""
    workers = max(_workers(arm.flags.get("workers")) for arm in study.arms.values())
    return study.processes * (1 + workers)


def _workers(flag: object) -> int:
    return int(flag) if isinstance(flag, int) or (isinstance(flag, str) and flag.isdecimal()) else WORKERS
