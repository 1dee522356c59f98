"""Which commands a study consists of: what is prepared, trained and evaluated, each as a user would type it."""

import math
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from sclip_plugin.commands.study.spec import START, Arm, Study
from sclip_plugin.commands.study.values import Flag
from sclip_plugin.data.shard_list import count_samples, expand
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.weights import WEIGHTS
from sclip_plugin.storage.location import location
from sclip_plugin.storage.urls import is_url

REPEATED = ("zeroshot-data", "pretrained")  # flags that are given once for each value
TRAINING = "open_clip_train.main"
LATEST = "epoch_latest.pt"  # where open_clip's --save-most-recent keeps the last whole epoch
SEEDED_TRAINING = "sclip_plugin.commands.study.stock"  # the same with a seeded shuffle, see there
BATCH_SIZE, EPOCHS, PRECISION = 64, 32, "amp"  # open_clip's defaults
PARTS_OF_A_SET = ("test", "train", "val", "images")  # folders in which an evaluation set has files; not all have each


@dataclass(frozen=True)
class Resume:
    """How a command goes on where it was ended.

    Attributes:
        words: further words of the command, with which it keeps its state and goes on from what it finds.
        state: the file that it goes on from.
    """

    words: tuple[str, ...]
    state: Path


@dataclass(frozen=True)
class Step:
    """One command of a study.

    Attributes:
        name: names its marker and its log.
        command: its words, of which the first is `sclip` or `python`.
        products: what it writes; they are removed before it runs again.
        inputs: what it reads; it runs again where they change. Words that name no file or folder do no harm.
        module: the module that runs in place of `TRAINING`, which is what is shown; None where that itself runs.
        threads: CPU threads that it may use; None leaves that to torch.
        resume: how it goes on where it was ended; None where it can only start anew.
    """

    name: str
    command: tuple[str, ...]
    products: tuple[Path, ...] = ()
    inputs: tuple[str, ...] = ()
    module: str | None = None
    threads: int | None = None
    resume: Resume | None = None

    @property
    def shown(self) -> str:
        """The command as a user would type it."""
        return shlex.join(self.command)

    @property
    def argv(self) -> list[str]:
        """The command with this interpreter."""
        words = list(self.command)
        if words[0] == "sclip":
            return [sys.executable, "-m", "sclip_plugin.cli", *words[1:]]
        if self.module:
            words[words.index(TRAINING)] = self.module
        return [sys.executable, *words[1:]]


@dataclass(frozen=True)
class StudyRun:
    """One arm with one seed."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder, its markers and its results."""
        return f"{self.arm.name}-{self.seed}"


def runs(study: Study) -> list[StudyRun]:
    """The study's runs, seed by seed, so that a study cut short has compared something."""
    return [StudyRun(arm, seed) for seed in study.seeds for arm in study.arms.values()]


# --- preparation -----------------------------------------------------------------------------------------------------


def prepare_steps(study: Study) -> list[Step]:
    """The commands that make the data."""
    return [Step(f"prepare-{n}", one.command, one.makes) for n, one in enumerate(study.prepare, 1)]


# --- training --------------------------------------------------------------------------------------------------------


def pairs_in_a_step(arm: Arm, processes: int) -> int:
    """Pairs that one optimizer step of the arm sees over all processes."""
    return arm.whole_number("batch-size", BATCH_SIZE) * processes * arm.whole_number("accum-freq", 1)


def epochs(arm: Arm, processes: int) -> int:
    """Epochs of a run: the arm's own number, or as many as its number of steps needs.

    Raises:
        DataError: the arm has `steps`, and nobody has counted the samples of its shards.
    """
    if arm.steps is None:
        return arm.whole_number("epochs", EPOCHS)
    sizes = count_samples(expand(arm_shards(arm, "train-data"), f"arms.{arm.name}: train-data"))
    pairs = arm.whole_number("train-num-samples", 0) or (0 if sizes is None else int(sizes.sum()))
    if not pairs:
        raise DataError(f"arms.{arm.name}: steps needs train-num-samples, or a sizes.json beside the shards")
    return math.ceil(arm.steps / math.ceil(pairs / pairs_in_a_step(arm, processes)))


def checkpoints(study: Study, run: StudyRun, out: Path) -> list[tuple[int, Path]]:
    """(epoch, file) of the checkpoints that are evaluated; the last epoch's is among them."""
    last = epochs(run.arm, study.processes)
    every = math.ceil(last / study.evaluation.points)
    folder = out / "runs" / run.name / "checkpoints"
    numbers = dict.fromkeys([*range(every, last + 1, every), last])
    return [(n, folder / f"epoch_{n}.pt") for n in numbers]


def train_step(study: Study, run: StudyRun, out: Path) -> Step:
    """The training of one run."""
    arm = run.arm
    flags: dict[str, Flag] = {**arm.flags, **{flag: arm_shards(arm, flag) for flag in _data_flags(arm)}}
    if arm.stock:
        flags.setdefault("dataset-type", "webdataset")
    last = epochs(arm, study.processes)
    flags |= {"epochs": last, "save-frequency": math.ceil(last / study.evaluation.points), "seed": run.seed}
    flags |= {"logs": str(out / "runs"), "name": run.name}
    flags.setdefault("log-every-n-steps", 1 if arm.steps else 100)
    return Step(
        name=f"train-{run.name}",
        command=(*_launcher(study.processes), TRAINING, *words(flags)),
        products=(out / "runs" / run.name,),
        inputs=_inputs(arm),
        module=SEEDED_TRAINING if arm.stock else None,
        threads=study.threads,
        resume=Resume(("--save-most-recent", "--resume", "latest"), out / "runs" / run.name / "checkpoints" / LATEST),
    )


def _launcher(processes: int) -> tuple[str, ...]:
    if processes == 1:
        return ("python", "-m")
    # `--` keeps newer torchruns from reading open_clip's --logs as one of theirs
    return ("python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m", "--")


def _data_flags(arm: Arm) -> list[str]:
    return [flag for flag in ("train-data", "unpaired-data") if flag in arm.flags]


def _inputs(arm: Arm) -> tuple[str, ...]:
    """What the arm's flags name, of which some are files and folders."""
    data = _data_flags(arm)
    values = [value for flag, value in arm.flags.items() if isinstance(value, str) and flag not in data]
    folders = {str(location(url).parent) for flag in data for url in expand(str(arm.flags[flag]), flag).urls}
    return (*(value.removeprefix("local-dir:") for value in values), *sorted(folders))


# --- evaluation ------------------------------------------------------------------------------------------------------


def start_steps(study: Study, out: Path) -> dict[tuple[str, ...], Step]:
    """The evaluations of the start models, one for each model with its weights that arms start from.

    An arm that starts from random weights has no start model to evaluate.
    """
    found: dict[tuple[str, ...], Step] = {}
    for arm in study.arms.values():
        key = (str(arm.flags["model"]), str(arm.flags.get("pretrained", "")))
        if key not in found and has_weights(arm):
            name = START if not found else f"{START}-{len(found) + 1}"
            found[key] = eval_step(study, out, name, arm, [])
    return found


def has_weights(arm: Arm) -> bool:
    """False where training begins from random weights."""
    model = str(arm.flags["model"])
    folder = Path(model.removeprefix("local-dir:"))
    local = model.startswith("local-dir:") and any(any(folder.glob(pattern)) for pattern in WEIGHTS)
    return bool(arm.flags.get("pretrained")) or model.startswith("hf-hub:") or local


def eval_step(study: Study, out: Path, name: str, arm: Arm, files: list[Path]) -> Step:
    """The evaluation of a run's checkpoints, or of the arm's start model where `files` is empty.

    A run is named by its folder, which has recorded model, precision and preprocessing.
    """
    if files:
        chosen = [str(out / "runs" / name), *words({"pretrained": [file.name for file in files]})]
    else:
        precision = arm.flags.get("precision", PRECISION)
        chosen = words({"model": arm.flags["model"], "precision": precision})
        chosen += words({"pretrained": arm.flags["pretrained"]}) if arm.flags.get("pretrained") else []
    device: dict[str, Flag] = {"device": arm.flags["device"]} if "device" in arm.flags else {}
    result, ranks = result_files(out, name)
    trained = [str(out / "done" / f"train-{name}.json")] if files else []
    rest: dict[str, Flag] = {**device, **study.evaluation.flags, "json": str(result), "ranks": str(ranks)}
    return Step(
        name=f"eval-{name}",
        command=("sclip", "eval", *chosen, *set_words(study), *words(rest)),
        products=(result, ranks),
        inputs=(*trained, *set_inputs(study)),
        threads=study.threads,
    )


def set_words(study: Study) -> list[str]:
    """The words of `sclip eval` that name the study's sets."""
    shots = words({"shots": list(study.evaluation.shots)}) if study.evaluation.shots else []
    return [word for flag, name, folder in _sets(study) for word in (flag, f"{name}={folder}")] + shots


def _sets(study: Study) -> list[tuple[str, str, str]]:
    """(flag of `sclip eval`, name, folder) of each set."""
    found = study.evaluation
    tables = {"zeroshot": found.zeroshot, "retrieval": found.retrieval, **found.transfer}
    return [(f"--{flag}", name, folder) for flag, table in tables.items() for name, folder in table.items()]


def set_inputs(study: Study) -> list[str]:
    """What an evaluation reads of the study's sets."""
    folders = dict.fromkeys(folder for _, _, folder in _sets(study))
    return [place for folder in folders for place in (folder, *(f"{folder}/{part}" for part in PARTS_OF_A_SET))]


def result_files(out: Path, name: str) -> tuple[Path, Path]:
    """The file with the measures of a run, and the file with the ranks behind them."""
    return out / "results" / f"{name}.json", out / "results" / f"{name}.npz"


# --- words of a command ----------------------------------------------------------------------------------------------


def words(flags: dict[str, Flag]) -> list[str]:
    """The words of a command line.

    A flag with a value gives `--flag value`, one that is true gives `--flag`, and a list gives all its values after one
    `--flag`, or after a `--flag` each where the flag is one of `REPEATED`.
    """
    found: list[str] = []
    for flag, value in flags.items():
        if value is True:
            found.append(f"--{flag}")
        elif isinstance(value, list):
            values = [str(one) for one in value]
            found += [w for one in values for w in (f"--{flag}", one)] if flag in REPEATED else [f"--{flag}", *values]
        else:
            found += [f"--{flag}", str(value)]
    return found


def arm_shards(arm: Arm, flag: str) -> str:
    """The shards that an arm's flag names, as open_clip takes them.

    A folder becomes a brace pattern. Where the arm asks for a share of its shards, the pattern names so many of them.

    Raises:
        DataError: the shards are not there, or the share is not a whole number of them.
    """
    value = str(arm.flags[flag])
    share = arm.paired_share if flag == "train-data" else arm.unpaired_share
    if share == 1 and not any(_is_folder(part) for part in value.split("::")):
        return value
    urls = expand(value, f"arms.{arm.name}: {flag}").urls
    wanted = share * len(urls)
    if abs(wanted - round(wanted)) > 1e-6 * len(urls) + 0.02 or round(wanted) < 1:
        raise DataError(
            f"arms.{arm.name}: a share of {share:g} of {len(urls)} shards ({value}) is not a whole number of them; "
            "convert with --shards"
        )
    return "::".join(_braces(part) for part in _by_folder(urls[: round(wanted)]))


def _is_folder(part: str) -> bool:
    """Whether a part of a pattern names no shards, so that the shards in it must be looked up."""
    return not part.endswith(".tar") if is_url(part) else Path(part).is_dir()


def _by_folder(urls: list[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for url in urls:
        groups.setdefault(url.rpartition("/")[0], []).append(url)
    return list(groups.values())


def _braces(urls: list[str]) -> str:
    """A brace pattern for shards of one folder: a range where they are numbered, else their names."""
    if len(urls) == 1:
        return urls[0]
    folder, names = urls[0].rpartition("/")[0], [url.rpartition("/")[2] for url in urls]
    stems = [name.removesuffix(".tar") for name in names]
    first = stems[0]
    if first.isdecimal() and [f"{int(first) + n:0{len(first)}d}" for n in range(len(stems))] == stems:
        return f"{folder}/{{{first}..{stems[-1]}}}.tar"
    return f"{folder}/{{{','.join(names)}}}"
