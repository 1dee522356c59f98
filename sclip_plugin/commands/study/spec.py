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
"""

import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template
from typing import Any, Final, TypeAlias

from sclip_plugin.errors import DataError
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
EVAL_SET_BY_STUDY: Final = ("json", "ranks", "model", "pretrained")  # flags of `sclip eval`
LARGEST: Final = 2**31 - 1  # of any whole number; NumPy's seeds end at twice this, and a rank's number is added to one
START: Final = "start"  # the name of the start model's results, which therefore no arm may have

Value: TypeAlias = str | int | float | bool
Flag: TypeAlias = Value | list[Value]
Raw: TypeAlias = dict[str, Any]  # a TOML table: what it holds is checked key by key


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
        points: how many checkpoints of a run are measured, at least; the last is among them.
        bootstrap: draws of the test images behind the interval of a difference.
        flags: further flags of `sclip eval`, without dashes.
    """

    zeroshot: dict[str, str]
    retrieval: dict[str, str]
    points: int = 1
    bootstrap: int = 1000
    flags: dict[str, Flag] = field(default_factory=dict)


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
    except _Bad as error:
        raise DataError(f"{path}: {error}") from None


class _Bad(Exception):
    """What is wrong in a file, without the file's name."""


def _merged(path: Path, base: str | None, above: tuple[Path, ...]) -> Raw:
    """The file's tables over its base's. Arms, if there are any, replace the base's; `prepare` follows the base's."""
    if path in above:
        raise DataError(f"{path}: base: it stands on itself")
    own = load_toml(path)
    try:
        _check_types(own)
    except _Bad as error:
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
                raise _Bad(f"{key}: must be {'text' if SCALARS[key] is str else 'a whole number'}, got {value!r}")
        elif key in TABLES or key == "arms":
            if not isinstance(value, dict):
                raise _Bad(f"{key}: must be a table, got {value!r}")
        elif key in LISTS:
            if not isinstance(value, list):
                raise _Bad(f"{key}: must be a list, got {value!r}")
        else:
            raise _Bad(f"unknown key {key!r}; there are {', '.join([*SCALARS, *LISTS, *TABLES, 'arms'])}")


def _build(path: Path, raw: Raw, out: Path, variables: dict[str, str]) -> Study:
    fill = _Filler(_variables({**raw.get("variables", {}), **variables, "out": str(out)}))
    steps = _optional("steps", raw)
    arms = {name: _arm(name, table, raw, steps, fill) for name, table in raw.get("arms", {}).items()}
    if not arms:
        raise _Bad("arms: there are none")
    baseline, compare = raw.get("baseline"), raw.get("compare", [])
    if not all(isinstance(pair, list) and [type(name) for name in pair] == [str, str] for pair in compare):
        raise _Bad(f"compare: must be pairs of arms, got {compare!r}")
    for name in [baseline] * (baseline is not None) + [name for pair in compare for name in pair]:
        if name not in arms:
            raise _Bad(f"baseline or compare: {name!r} is not one of the arms {', '.join(arms)}")
    return Study(
        source=path,
        title=raw.get("title", path.stem),
        about=raw.get("about", "").strip(),
        seeds=_seeds(raw.get("seeds", [0, 1, 2])),
        processes=_optional("processes", raw) or 1,
        threads=_optional("threads", raw),
        baseline=baseline,
        compare=tuple((first, second) for first, second in compare),
        prepare=tuple(_prepare(table, fill) for table in raw.get("prepare", [])),
        arms=arms,
        evaluation=_evaluation(raw.get("evaluate", {}), fill),
    )


def _variables(raw: Raw) -> dict[str, str]:
    """The variables' values. One may use others, whatever the order in the file."""
    values: dict[str, str] = {}
    open_names = dict(raw)
    while open_names:
        ready = [n for n, value in open_names.items() if not set(_uses(n, value)) & (set(open_names) | {n})]
        if not ready:
            raise _Bad(f"variables: {', '.join(open_names)} use each other")
        for name in ready:
            values[name] = _Filler(values).text(f"variables: {name}", str(open_names.pop(name)))
    return values


def _uses(name: str, value: object) -> list[str]:
    if not isinstance(value, str | int | float):
        raise _Bad(f"variables: {name} must be text or a number, got {value!r}")
    return [found["named"] or found["braced"] for found in Template.pattern.finditer(str(value))]


class _Filler:
    """Replaces `$name` by the variable's value.

    Args:
        values: the variables' values by name.
    """

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    def text(self, key: str, value: str) -> str:
        """A text with its variables replaced; `key` names it in messages."""
        if "\0" in value:
            raise _Bad(f"{key}: holds a null character, which no command can be given")
        try:
            return Template(value).substitute(self.values)
        except KeyError as error:
            raise _Bad(f"{key}: no variable ${error.args[0]}; there are {', '.join(self.values)}") from None
        except ValueError:
            raise _Bad(f"{key}: a lone $ in {value!r}; $$ stands for the sign itself") from None

    def flag(self, key: str, value: Flag) -> Flag:
        """A flag's value with the variables replaced in its texts."""
        if isinstance(value, list):
            return [self.text(key, one) if isinstance(one, str) else one for one in value]
        return self.text(key, value) if isinstance(value, str) else value

    def texts(self, key: str, values: object) -> list[str]:
        """The texts of a list."""
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            raise _Bad(f"{key}: must be a list of texts, got {values!r}")
        return [self.text(key, one) for one in values]


def _arm(name: str, table: object, raw: Raw, steps: int | None, fill: _Filler) -> Arm:
    where = f"arms.{name}"
    if not isinstance(table, dict):
        raise _Bad(f"{where}: must be a table, got {table!r}")
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name == START:
        raise _Bad(f"{where}: a name is letters, digits, - and _, and not `{START}`, which is the start model's")
    own = {key: value for key, value in table.items() if key in OF_AN_ARM}
    flags = _arm_flags(where, {key: value for key, value in table.items() if key not in OF_AN_ARM}, raw, fill)
    if "unpaired-share" in own and flags.get("loss") != "sclip":
        raise _Bad(f'{where}: unpaired-share does nothing without loss = "sclip"')
    return Arm(
        name=name,
        title=fill.text(f"{where}: title", str(own.get("title", name))),
        flags=flags,
        steps=_optional("steps", own, f"{where}: ") or steps,
        paired_share=_share(f"{where}: paired-share", own.get("paired-share", 1.0)),
        unpaired_share=_share(f"{where}: unpaired-share", own.get("unpaired-share", 1.0)),
    )


def _arm_flags(where: str, own: Raw, raw: Raw, fill: _Filler) -> dict[str, Flag]:
    """The common flags, those for S-CLIP where the arm trains with it, and the arm's own over both."""
    common = raw.get("train", {})
    sclip = own.get("loss", common.get("loss")) == "sclip"
    merged = {**common, **(raw.get("train-sclip", {}) if sclip else {}), **own}
    for flag, value in merged.items():
        if flag in SET_BY_STUDY:
            raise _Bad(f"{where}: {flag} is set by the study itself")
        if flag.startswith("-") or not _is_flag(value):
            raise _Bad(f"{where}: {flag} must be a flag's name without dashes and a plain value, got {value!r}")
    flags = {flag: fill.flag(f"{where}: {flag}", value) for flag, value in merged.items() if value is not False}
    for needed in ("model", "train-data"):
        if needed not in flags:
            raise _Bad(f"{where}: no {needed}, neither there nor in [train]")
    return flags


def _is_flag(value: object) -> bool:
    return all(isinstance(one, Value) for one in value) if isinstance(value, list) else isinstance(value, Value)


def _share(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise _Bad(f"{key}: must be above 0 and at most 1, got {value!r}")
    return float(value)


def _optional(key: str, table: Raw, where: str = "") -> int | None:
    """The whole number of at least 1 under this key; None where the table has no such key."""
    value = table.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise _Bad(f"{where}{key}: must be a whole number of at least 1, got {value!r}")
    if value is not None and value > LARGEST:
        raise _Bad(f"{where}{key}: must be at most {LARGEST}, got {value}")
    return value


def _seeds(values: list[object]) -> tuple[int, ...]:
    whole = [value for value in values if isinstance(value, int) and not isinstance(value, bool) and value >= 0]
    if not values or len(set(whole)) < len(values):
        raise _Bad(f"seeds: must be different whole numbers of at least 0, got {values!r}")
    if max(whole) > LARGEST:
        raise _Bad(f"seeds: must be at most {LARGEST}, got {max(whole)}")
    return tuple(whole)


def _prepare(table: object, fill: _Filler) -> Prepare:
    if not isinstance(table, dict) or not isinstance(table.get("run"), str) or set(table) - {"run", "makes"}:
        raise _Bad(f"prepare: each needs `run`, a command as text, and may have `makes`, got {table!r}")
    try:
        command = tuple(shlex.split(fill.text("prepare", table["run"])))
    except ValueError as error:
        raise _Bad(f"prepare: {error} in {table['run']!r}") from None
    if not command or command[0] not in ("sclip", "python"):
        raise _Bad(f"prepare: a command begins with `sclip` or `python`, got {table['run']!r}")
    return Prepare(command, tuple(Path(path) for path in fill.texts("prepare: makes", table.get("makes", []))))


def _evaluation(raw: Raw, fill: _Filler) -> Evaluation:
    zeroshot, retrieval = _sets("zeroshot", raw, fill), _sets("retrieval", raw, fill)
    if not (zeroshot or retrieval):
        raise _Bad("evaluate: neither zeroshot nor retrieval names a set")
    for key in EVAL_SET_BY_STUDY:
        if key in raw:
            raise _Bad(f"evaluate: {key} is set by the study itself")
    own = ("zeroshot", "retrieval", "points", "bootstrap")
    flags = {key: value for key, value in raw.items() if key not in own}
    for key, value in flags.items():
        if not _is_flag(value):
            raise _Bad(f"evaluate: {key} must be a plain value, got {value!r}")
    return Evaluation(
        zeroshot=zeroshot,
        retrieval=retrieval,
        points=_optional("points", raw, "evaluate: ") or Evaluation.points,
        bootstrap=_optional("bootstrap", raw, "evaluate: ") or Evaluation.bootstrap,
        flags={key: fill.flag("evaluate", value) for key, value in flags.items()},
    )


def _sets(key: str, raw: Raw, fill: _Filler) -> dict[str, str]:
    table = raw.get(key, {})
    if not isinstance(table, dict):
        raise _Bad(f"evaluate: {key} must be a table of names and folders, got {table!r}")
    return {name: fill.text(f"evaluate: {key}", str(folder)) for name, folder in table.items()}
