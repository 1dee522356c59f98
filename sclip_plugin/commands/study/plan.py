"""A study's commands: what is prepared, trained and evaluated, as a user would type it."""

import math
from dataclasses import dataclass
from pathlib import Path

from sclip_plugin.commands.study.spec import Arm, Study
from sclip_plugin.commands.study.steps import Step
from sclip_plugin.data.shard_list import count_samples, expand
from sclip_plugin.errors import DataError

REPEATED = ("zeroshot-data",)  # flags of open_clip_train.main that are given once for each value
START = "start"
EPOCHS = 32  # open_clip's default


@dataclass(frozen=True)
class Run:
    """One arm with one seed."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """Of its folder, markers and results."""
        return f"{self.arm.name}-{self.seed}"


def runs(study: Study) -> list[Run]:
    """All of them, seed by seed, so that a study cut short has compared something."""
    return [Run(arm, seed) for seed in study.seeds for arm in study.arms.values()]


def prepare_steps(study: Study) -> list[Step]:
    """The commands that make the data."""
    return [Step(f"prepare-{n}", one.command, one.makes) for n, one in enumerate(study.prepare, 1)]


def batch(arm: Arm, processes: int) -> int:
    """Pairs in an optimizer step. open_clip's own defaults where the arm is silent."""
    return int(arm.flags.get("batch-size", 64)) * processes * int(arm.flags.get("accum-freq", 1))


def epochs(arm: Arm, processes: int) -> int:
    """Epochs of a run: the arm's own, or as many as its number of steps needs.

    Raises:
        DataError: `steps` with shards whose samples nobody has counted.
    """
    if arm.steps is None:
        return int(arm.flags.get("epochs", EPOCHS))
    sizes = count_samples(expand(_shards(arm, "train-data"), f"arms.{arm.name}: train-data"))
    pairs = arm.flags.get("train-num-samples") or (None if sizes is None else int(sizes.sum()))
    if not pairs:
        raise DataError(f"arms.{arm.name}: steps needs train-num-samples, or a sizes.json beside the shards")
    return math.ceil(arm.steps / math.ceil(int(pairs) / batch(arm, processes)))


def checkpoints(study: Study, run: Run, out: Path) -> list[tuple[int, Path]]:
    """(epoch, file) of the checkpoints that are evaluated, the last epoch's included."""
    last = epochs(run.arm, study.processes)
    every = math.ceil(last / study.evaluation.points)
    folder = out / "runs" / run.name / "checkpoints"
    return [(n, folder / f"epoch_{n}.pt") for n in range(1, last + 1) if n % every == 0 or n == last]


def train_step(study: Study, run: Run, out: Path) -> Step:
    """Training of one run."""
    arm = run.arm
    flags = {**arm.flags, **{flag: _shards(arm, flag) for flag in _data_flags(arm)}}
    if not arm.sclip:
        flags.setdefault("dataset-type", "webdataset")
    last = epochs(arm, study.processes)
    flags |= {"epochs": last, "save-frequency": math.ceil(last / study.evaluation.points), "seed": run.seed}
    flags |= {"logs": str(out / "runs"), "name": run.name}
    flags.setdefault("log-every-n-steps", 1 if arm.steps else 100)
    return Step(
        name=f"train-{run.name}",
        command=(*_launcher(study.processes), "open_clip_train.main", *words(flags)),
        products=(out / "runs" / run.name,),
        inputs=_inputs(arm),
        module=None if arm.sclip else "sclip_plugin.commands.study.stock",
        threads=study.threads,
    )


def _launcher(processes: int) -> tuple[str, ...]:
    if processes == 1:
        return ("python", "-m")
    # `--` keeps newer torchruns from reading open_clip's --logs as one of theirs
    return ("python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m", "--")


def eval_step(study: Study, out: Path, name: str, arm: Arm, files: list[Path]) -> Step:
    """Evaluation of a run's checkpoints, or (no files) of the start model."""
    sets = [word for kind in ("zeroshot", "retrieval") for word in _sets(study, kind)]
    model = {key: arm.flags[key] for key in ("model", "precision", "device") if key in arm.flags}
    if files:
        chosen = [word for file in files for word in ("--pretrained", str(file))]
    else:
        chosen = words({"pretrained": arm.flags["pretrained"]} if arm.flags.get("pretrained") else {})
    result, ranks = result_files(out, name)
    trained = [str(out / "done" / f"train-{name}.json")] if files else []
    rest = {**model, **study.evaluation.flags, "json": str(result), "ranks": str(ranks)}
    return Step(
        name=f"eval-{name}",
        command=("sclip", "eval", *chosen, *sets, *words(rest)),
        products=(result, ranks),
        inputs=(*trained, *_set_inputs(study)),
        threads=study.threads,
    )


def _sets(study: Study, kind: str) -> list[str]:
    return [
        word for name, folder in getattr(study.evaluation, kind).items() for word in (f"--{kind}", f"{name}={folder}")
    ]


def _set_inputs(study: Study) -> list[str]:
    folders = [*study.evaluation.zeroshot.values(), *study.evaluation.retrieval.values()]
    return [place for folder in folders for place in (folder, f"{folder}/test")]


def result_files(out: Path, name: str) -> tuple[Path, Path]:
    """Where the measures of a run are, and the ranks behind them."""
    return out / "results" / f"{name}.json", out / "results" / f"{name}.npz"


def words(flags: dict) -> list[str]:
    """The words of a command line: `--flag value`; True: `--flag`; a list: all its values."""
    found = []
    for flag, value in flags.items():
        if value is True:
            found.append(f"--{flag}")
        elif isinstance(value, list):
            values = [str(one) for one in value]
            found += [w for one in values for w in (f"--{flag}", one)] if flag in REPEATED else [f"--{flag}", *values]
        else:
            found += [f"--{flag}", str(value)]
    return found


def _data_flags(arm: Arm) -> list[str]:
    return [flag for flag in ("train-data", "unpaired-data") if flag in arm.flags]


def _inputs(arm: Arm) -> tuple[str, ...]:
    """What the arm's flags name, of which some are files and folders."""
    values = [value for flag, value in arm.flags.items() if isinstance(value, str) and flag not in _data_flags(arm)]
    folders = {str(Path(url).parent) for flag in _data_flags(arm) for url in expand(arm.flags[flag], flag).urls}
    return (*(value.removeprefix("local-dir:") for value in values), *sorted(folders))


def _shards(arm: Arm, flag: str) -> str:
    """The arm's shards as open_clip takes them: a folder as a brace pattern; where a share is asked for, so many."""
    value = str(arm.flags[flag])
    share = arm.paired_share if flag == "train-data" else arm.unpaired_share
    if share == 1 and not any(Path(part).is_dir() for part in value.split("::")):
        return value
    urls = expand(value, f"arms.{arm.name}: {flag}").urls
    wanted = share * len(urls)
    if abs(wanted - round(wanted)) > 1e-6 * len(urls) + 0.02 or round(wanted) < 1:
        raise DataError(
            f"arms.{arm.name}: a share of {share:g} of {len(urls)} shards ({value}) is not a whole number of them; "
            "convert with --shards"
        )
    return "::".join(_braces(part) for part in _by_folder(urls[: round(wanted)]))


def _by_folder(urls: list[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for url in urls:
        groups.setdefault(url.rpartition("/")[0], []).append(url)
    return list(groups.values())


def _braces(urls: list[str]) -> str:
    """A brace pattern for numbered shards of one folder, or the names themselves."""
    if len(urls) == 1:
        return urls[0]
    folder, names = urls[0].rpartition("/")[0], [url.rpartition("/")[2] for url in urls]
    stems = [name.removesuffix(".tar") for name in names]
    first = stems[0]
    if [f"{int(first) + n:0{len(first)}d}" for n in range(len(stems))] == stems if first.isdecimal() else False:
        return f"{folder}/{{{first}..{stems[-1]}}}.tar"
    return f"{folder}/{{{','.join(names)}}}"
