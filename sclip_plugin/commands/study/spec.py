"""Reading a study file, and what such a file may say:

title = "Hard, soft, transport"     about = "why"
base = "icons"                      # optional: a study whose tables stand under this one's (data, common flags)
seeds = [0, 1, 2]                   processes = 1       threads = 1   # CPU threads of each process; torch's own default
baseline = "supervised"             # the arm that every other arm is compared with
compare = [["ot", "hard"]]          # further pairs of arms to compare
steps = 300                         # optional: epochs are computed from it

[variables]                         # $name in any string below; $out is the study's folder
[[prepare]]                         # commands that run first, in order
run = "sclip keywords $paired --out $out/keywords.txt"
makes = ["$out/keywords.txt"]       # optional: removed before the command runs again
[train]                             # flags of open_clip_train.main for every arm; true gives a flag without a value
[train-sclip]                       # further flags for the arms with loss = "sclip"
[arms.hard]                         # flags of one arm; false takes a common one away
title = "hard"                      # optional, as are steps, paired-share and unpaired-share of the arm
loss = "sclip"                      # "clip": the supervised baseline on the same pairs, captions and crops; without it
                                    # the arm trains as open_clip does without the plugin, one caption an image
[evaluate]                          # points, bootstrap, and flags of `sclip eval`
zeroshot = {NAME = "DIR"}           retrieval = {NAME = "DIR"}
knn = {NAME = "DIR"}                linear-probe = {NAME = "DIR"}   # optional: frozen image features of these sets
shots = [1, 4, 16]                  regions = {NAME = "DIR"}        # optional: from few images too; crops of pictures
"""

import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sclip_plugin.commands.study.values import LARGEST, Bad, Filler, Flag, Raw, is_flag, optional, resolved
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.names import KNN, LINEAR_PROBE, PREFIXES, REGIONS
from sclip_plugin.toml import load_toml

SHIPPED: Final = Path(__file__).parent / "studies"
TABLES: Final = ("variables", "train", "train-sclip", "evaluate")
SCALARS: Final[dict[str, type]] = {
    "title": str,
    "about": str,
    "base": str,
    "baseline": str,
    "processes": int,
    "threads": int,
    "steps": int,
}
LISTS: Final = ("seeds", "compare", "prepare")
OF_AN_ARM: Final = ("title", "steps", "paired-share", "unpaired-share")  # what an arm's table holds beside flags
SET_BY_STUDY: Final = ("seed", "name", "logs", "resume", "save-frequency")  # training flags
EVAL_SET_BY_STUDY: Final = ("json", "ranks", "model", "pretrained", "precision")  # flags of `sclip eval`
OF_SETS: Final = ("zeroshot", "retrieval", KNN, LINEAR_PROBE, REGIONS)  # what `evaluate` may hold tables of sets for
START: Final = "start"  # the name of the start model's results, which therefore no arm may have


@dataclass(frozen=True)
class Arm:
    """One set of training flags.

    Attributes:
        name: its key in the file.
        title: its name in tables and pictures.
        flags: flags of open_clip_train.main without dashes, those common to all arms among them.
        steps: training steps, from which the epochs are computed; None where a flag says the epochs.
        paired_share: part of the paired shards that it trains on, above 0 and at most 1.
        unpaired_share: part of the unpaired shards that it trains on, above 0 and at most 1.
    """

    name: str
    title: str
    flags: dict[str, Flag]
    steps: int | None = None
    paired_share: float = 1.0
    unpaired_share: float = 1.0

    @property
    def stock(self) -> bool:
        """True where the arm names no loss: it trains as open_clip does without the plugin, its own loader included."""
        return "loss" not in self.flags

    def whole_number(self, flag: str, default: int) -> int:
        """The flag's value, or `default` where the arm has no such flag.

        Raises:
            DataError: it is no whole number of at least 1; names the arm and the flag.
        """
        value = self.flags.get(flag)
        if value is None:
            return default
        try:
            found = int(value) if not isinstance(value, list) else 0
        except (ValueError, OverflowError):
            found = 0
        if not 1 <= found <= LARGEST:
            raise DataError(f"arms.{self.name}: {flag} must be a whole number from 1 to {LARGEST}, got {value!r:.60}")
        return found


@dataclass(frozen=True)
class Prepare:
    """A command that runs before all training.

    Attributes:
        command: its words, of which the first is `sclip` or `python`.
        makes: what it writes.
    """

    command: tuple[str, ...]
    makes: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """What each trained model is measured on.

    Attributes:
        zeroshot: the folder of each classification set by its name.
        retrieval: the folder of each retrieval set by its name.
        transfer: for each kind of `names.KNN`, `LINEAR_PROBE` and `REGIONS` that is asked for, the folder of each set
            by its name.
        shots: images of each class that kNN and the probe learn from, beside all.
        points: how many checkpoints of a run are measured, at least; the last is among them.
        bootstrap: draws of the test images behind the interval of a difference.
        flags: further flags of `sclip eval`, without dashes.
    """

    zeroshot: dict[str, str]
    retrieval: dict[str, str]
    points: int = 1
    bootstrap: int = 1000
    flags: dict[str, Flag] = field(default_factory=dict)
    transfer: dict[str, dict[str, str]] = field(default_factory=dict)
    shots: tuple[int, ...] = ()


@dataclass(frozen=True)
class Study:
    """A study file, its base merged in and its variables replaced.

    Attributes:
        source: the file.
        title: heads the report.
        about: paragraphs for the report.
        seeds: what each arm is trained with, one run for each.
        processes: processes (GPUs) of one run.
        threads: CPU threads of each command; None leaves that to torch.
        baseline: the arm that every other arm is compared with, if any.
        compare: further pairs of arms to compare.
        prepare: the commands that make the data, in order.
        arms: the arms by name.
        evaluation: what each trained model is measured on.
    """

    source: Path
    title: str
    about: str
    seeds: tuple[int, ...]
    processes: int
    threads: int | None
    baseline: str | None
    compare: tuple[tuple[str, str], ...]
    prepare: tuple[Prepare, ...]
    arms: dict[str, Arm]
    evaluation: Evaluation

    def only(self, names: list[str]) -> "Study":
        """The study of these arms alone, in the file's order; comparisons with other arms are left out.

        Raises:
            DataError: there is no such arm.
        """
        for name in names:
            if name not in self.arms:
                raise DataError(f"{self.source}: no arm {name!r}; there are {', '.join(self.arms)}")
        return replace(
            self,
            arms={name: arm for name, arm in self.arms.items() if name in names},
            baseline=self.baseline if self.baseline in names else None,
            compare=tuple(pair for pair in self.compare if set(pair) <= set(names)),
        )


def shipped() -> dict[str, Path]:
    """The files of the studies that come with the package, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}


def locate(name: str, beside: Path | None = None) -> Path:
    """The file that a name or path stands for: a path (relative to the folder `beside`), or a shipped study.

    Raises:
        DataError: there is no such file and no shipped study of that name.
    """
    path = (beside / name) if beside is not None and not Path(name).is_absolute() else Path(name)
    if path.is_file():
        return path
    found = shipped().get(name.removesuffix(".toml"))
    if found is None:
        raise DataError(f"no study {name!r}: neither a file nor one of {', '.join(shipped())}")
    return found


def load(
    path: Path,
    out: Path,
    base: str | None = None,
    variables: dict[str, str] | None = None,
    seeds: list[int] | None = None,
    steps: int | None = None,
) -> Study:
    """Read a study.

    Args:
        path: the file.
        out: the folder that `$out` stands for.
        base: replaces the file's own `base`.
        variables: replace or add to the file's own.
        seeds: replace the file's own.
        steps: replaces the file's own.

    Raises:
        DataError: the file is missing or is no study; names the file and the key at fault.
    """
    raw = _merged(path, base, ())
    raw |= {key: value for key, value in (("seeds", seeds), ("steps", steps)) if value is not None}
    try:
        return _build(path, raw, out, variables or {})
    except Bad as error:
        raise DataError(f"{path}: {error}") from None


def _merged(path: Path, base: str | None, above: tuple[Path, ...]) -> Raw:
    """The file's tables over its base's. Arms, if there are any, replace the base's; `prepare` follows the base's."""
    if path in above:
        raise DataError(f"{path}: base: it stands on itself")
    own = load_toml(path)
    try:
        _check_types(own)
    except Bad as error:
        raise DataError(f"{path}: {error}") from None
    base = base or own.get("base")
    if base is None:
        return own
    below = _merged(locate(base, path.parent), None, (*above, path))
    merged = {**below, **own}
    for name in TABLES:
        if name in below and name in own:
            merged[name] = {**below[name], **own[name]}
    merged["prepare"] = below.get("prepare", []) + own.get("prepare", [])
    return merged


def _check_types(raw: Raw) -> None:
    for key, value in raw.items():
        if key in SCALARS:
            if not isinstance(value, SCALARS[key]) or isinstance(value, bool):
                raise Bad(f"{key}: must be {'text' if SCALARS[key] is str else 'a whole number'}, got {value!r}")
        elif key in TABLES or key == "arms":
            if not isinstance(value, dict):
                raise Bad(f"{key}: must be a table, got {value!r}")
        elif key in LISTS:
            if not isinstance(value, list):
                raise Bad(f"{key}: must be a list, got {value!r}")
        else:
            raise Bad(f"unknown key {key!r}; there are {', '.join([*SCALARS, *LISTS, *TABLES, 'arms'])}")


def _build(path: Path, raw: Raw, out: Path, variables: dict[str, str]) -> Study:
    fill = Filler(resolved({**raw.get("variables", {}), **variables, "out": str(out)}))
    steps = optional("steps", raw)
    arms = {name: _arm(name, table, raw, steps, fill) for name, table in raw.get("arms", {}).items()}
    if not arms:
        raise Bad("arms: there are none")
    baseline, compare = raw.get("baseline"), raw.get("compare", [])
    if not all(isinstance(pair, list) and [type(name) for name in pair] == [str, str] for pair in compare):
        raise Bad(f"compare: must be pairs of arms, got {compare!r}")
    for name in [baseline] * (baseline is not None) + [name for pair in compare for name in pair]:
        if name not in arms:
            raise Bad(f"baseline or compare: {name!r} is not one of the arms {', '.join(arms)}")
    return Study(
        source=path,
        title=raw.get("title", path.stem),
        about=raw.get("about", "").strip(),
        seeds=_seeds(raw.get("seeds", [0, 1, 2])),
        processes=optional("processes", raw) or 1,
        threads=optional("threads", raw),
        baseline=baseline,
        compare=tuple((first, second) for first, second in compare),
        prepare=tuple(_prepare(table, fill) for table in raw.get("prepare", [])),
        arms=arms,
        evaluation=_evaluation(raw.get("evaluate", {}), fill),
    )


def _arm(name: str, table: object, raw: Raw, steps: int | None, fill: Filler) -> Arm:
    where = f"arms.{name}"
    if not isinstance(table, dict):
        raise Bad(f"{where}: must be a table, got {table!r}")
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name == START:
        raise Bad(f"{where}: a name is letters, digits, - and _, and not `{START}`, which is the start model's")
    own = {key: value for key, value in table.items() if key in OF_AN_ARM}
    flags = _arm_flags(where, {key: value for key, value in table.items() if key not in OF_AN_ARM}, raw, fill)
    if "unpaired-share" in own and flags.get("loss") != "sclip":
        raise Bad(f'{where}: unpaired-share does nothing without loss = "sclip"')
    return Arm(
        name=name,
        title=fill.text(f"{where}: title", str(own.get("title", name))),
        flags=flags,
        steps=optional("steps", own, f"{where}: ") or steps,
        paired_share=_share(f"{where}: paired-share", own.get("paired-share", 1.0)),
        unpaired_share=_share(f"{where}: unpaired-share", own.get("unpaired-share", 1.0)),
    )


def _arm_flags(where: str, own: Raw, raw: Raw, fill: Filler) -> dict[str, Flag]:
    """The common flags, those for S-CLIP where the arm trains with it, and the arm's own over both."""
    common = raw.get("train", {})
    sclip = own.get("loss", common.get("loss")) == "sclip"
    merged = {**common, **(raw.get("train-sclip", {}) if sclip else {}), **own}
    for flag, value in merged.items():
        if flag in SET_BY_STUDY:
            raise Bad(f"{where}: {flag} is set by the study itself")
        if flag.startswith("-") or not is_flag(value):
            raise Bad(f"{where}: {flag} must be a flag's name without dashes and a plain value, got {value!r}")
    flags = {flag: fill.flag(f"{where}: {flag}", value) for flag, value in merged.items() if value is not False}
    for needed in ("model", "train-data"):
        if needed not in flags:
            raise Bad(f"{where}: no {needed}, neither there nor in [train]")
    return flags


def _share(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise Bad(f"{key}: must be above 0 and at most 1, got {value!r}")
    return float(value)


def _seeds(values: list[object]) -> tuple[int, ...]:
    whole = [value for value in values if isinstance(value, int) and not isinstance(value, bool) and value >= 0]
    if not values or len(set(whole)) < len(values):
        raise Bad(f"seeds: must be different whole numbers of at least 0, got {values!r}")
    if max(whole) > LARGEST:
        raise Bad(f"seeds: must be at most {LARGEST}, got {max(whole)}")
    return tuple(whole)


def _prepare(table: object, fill: Filler) -> Prepare:
    if not isinstance(table, dict) or not isinstance(table.get("run"), str) or set(table) - {"run", "makes"}:
        raise Bad(f"prepare: each needs `run`, a command as text, and may have `makes`, got {table!r}")
    try:
        command = tuple(shlex.split(fill.text("prepare", table["run"])))
    except ValueError as error:
        raise Bad(f"prepare: {error} in {table['run']!r}") from None
    if not command or command[0] not in ("sclip", "python"):
        raise Bad(f"prepare: a command begins with `sclip` or `python`, got {table['run']!r}")
    return Prepare(command, tuple(Path(path) for path in fill.texts("prepare: makes", table.get("makes", []))))


def _evaluation(raw: Raw, fill: Filler) -> Evaluation:
    sets = {kind: _sets(kind, raw, fill) for kind in OF_SETS}
    zeroshot, retrieval = sets.pop("zeroshot"), sets.pop("retrieval")
    if not (zeroshot or retrieval):
        raise Bad("evaluate: neither zeroshot nor retrieval names a set")
    for key in EVAL_SET_BY_STUDY:
        if key in raw:
            raise Bad(f"evaluate: {key} is set by the study itself")
    flags = {key: value for key, value in raw.items() if key not in (*OF_SETS, "shots", "points", "bootstrap")}
    for key, value in flags.items():
        if not is_flag(value):
            raise Bad(f"evaluate: {key} must be a plain value, got {value!r}")
    transfer = {kind: table for kind, table in sets.items() if table}
    return Evaluation(
        zeroshot=zeroshot,
        retrieval=retrieval,
        points=optional("points", raw, "evaluate: ") or Evaluation.points,
        bootstrap=optional("bootstrap", raw, "evaluate: ") or Evaluation.bootstrap,
        flags={key: fill.flag("evaluate", value) for key, value in flags.items()},
        transfer=transfer,
        shots=_shots(raw.get("shots", []), any(kind in PREFIXES for kind in transfer)),
    )


def _shots(values: object, used: bool) -> tuple[int, ...]:
    found = values if isinstance(values, list) else [values]
    if not all(type(one) is int and 1 <= one <= LARGEST for one in found) or len(set(found)) < len(found):
        raise Bad(f"evaluate: shots must be different whole numbers of at least 1, got {values!r}")
    if found and not used:
        raise Bad("evaluate: shots does nothing without knn or linear-probe")
    return tuple(found)


def _sets(key: str, raw: Raw, fill: Filler) -> dict[str, str]:
    table = raw.get(key, {})
    if not isinstance(table, dict):
        raise Bad(f"evaluate: {key} must be a table of names and folders, got {table!r}")
    return {name: fill.text(f"evaluate: {key}", str(folder)) for name, folder in table.items()}
