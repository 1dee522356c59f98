"""A study file: what it may say, and reading it.

title = "Hard, soft, transport"     about = "why"
base = "icons"                      # optional: a study whose tables stand under this one's (data, common flags)
seeds = [0, 1, 2]                   processes = 1       threads = 1   # of each process; default: torch's
baseline = "supervised"             # the arm that differences are taken to
compare = [["ot", "hard"]]          # further differences
steps = 300                         # optional: epochs are computed from it

[variables]                         # $name in any string below; $out is the study's folder
[[prepare]]                         # commands that run first, in order
run = "sclip keywords $paired --out $out/keywords.txt"
makes = ["$out/keywords.txt"]       # optional: removed before the command runs again
[train]                             # flags of open_clip_train.main for every arm; true: without a value
[train-sclip]                       # and for the arms with loss = "sclip"
[arms.hard]                         # flags of one arm; false takes a common one away
title = "hard"                      # optional; steps, paired-share, unpaired-share too
[evaluate]                          # points, bootstrap, and flags of `sclip eval`
zeroshot = {NAME = "DIR"}           retrieval = {NAME = "DIR"}
"""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from sclip_plugin.errors import DataError
from sclip_plugin.toml import load_toml

SHIPPED = Path(__file__).parent / "studies"
TABLES = ("variables", "train", "train-sclip", "evaluate")
SCALARS = {"title": str, "about": str, "base": str, "baseline": str, "processes": int, "threads": int, "steps": int}
LISTS = ("seeds", "compare", "prepare")
RUNNERS_OWN = ("seed", "name", "logs", "resume", "save-frequency")  # flags that the runner sets
Flag = str | int | float | bool | list


@dataclass(frozen=True)
class Arm:
    """One set of training flags. paired_share, unpaired_share: part of the shards that it trains on."""

    name: str
    title: str
    flags: dict[str, Flag]
    steps: int | None = None
    paired_share: float = 1.0
    unpaired_share: float = 1.0

    @property
    def sclip(self) -> bool:
        """Trains with the plugin's loss."""
        return self.flags.get("loss") == "sclip"


@dataclass(frozen=True)
class Prepare:
    """A command before all training, and what it makes."""

    command: tuple[str, ...]
    makes: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """What each trained model is measured on. points: checkpoints of a run, the last included; bootstrap: samples."""

    zeroshot: dict[str, str]
    retrieval: dict[str, str]
    points: int = 1
    bootstrap: int = 1000
    flags: dict[str, Flag] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A study file, its base merged in and its variables replaced."""

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


def shipped() -> dict[str, Path]:
    """{name: file} of the studies that come with the package."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}


def locate(name: str, beside: Path | None = None) -> Path:
    """The file that a name or path stands for: a path (relative to the folder `beside`), or a shipped study.

    Raises:
        DataError: neither.
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
        path: the file. out: the folder that `$out` stands for.
        base: stands for the file's own `base`.
        variables, seeds, steps: stand for the file's own.

    Raises:
        DataError: what cannot be a study, naming file and key.
    """
    raw = _merged(path, base, ())
    variables = variables or {}
    raw |= {key: value for key, value in (("seeds", seeds), ("steps", steps)) if value is not None}
    try:
        return _build(path, raw, out, variables)
    except _Bad as error:
        raise DataError(f"{path}: {error}") from None


class _Bad(Exception):
    """What is wrong in a file, without the file's name."""


def _merged(path: Path, base: str | None, above: tuple[Path, ...]) -> dict:
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


def _check_types(raw: dict) -> None:
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


def _build(path: Path, raw: dict, out: Path, variables: dict[str, str]) -> Study:
    fill = _Filler(_variables({**raw.get("variables", {}), **variables, "out": str(out)}))
    steps = _at_least_one("steps", raw.get("steps"))
    arms = {name: _arm(name, table, raw, steps, fill) for name, table in raw.get("arms", {}).items()}
    if not arms:
        raise _Bad("arms: there are none")
    baseline, compare = raw.get("baseline"), raw.get("compare", [])
    for name in [baseline] * (baseline is not None) + [name for pair in compare for name in pair]:
        if name not in arms:
            raise _Bad(f"baseline or compare: {name!r} is not one of the arms {', '.join(arms)}")
    if any(len(pair) != 2 for pair in compare):
        raise _Bad(f"compare: must be pairs of arms, got {compare!r}")
    return Study(
        source=path,
        title=raw.get("title", path.stem),
        about=raw.get("about", "").strip(),
        seeds=_seeds(raw.get("seeds", [0, 1, 2])),
        processes=_at_least_one("processes", raw.get("processes", 1)),
        threads=_at_least_one("threads", raw.get("threads")),
        baseline=baseline,
        compare=tuple((first, second) for first, second in compare),
        prepare=tuple(_prepare(table, fill) for table in raw.get("prepare", [])),
        arms=arms,
        evaluation=_evaluation(raw.get("evaluate", {}), fill),
    )


def _variables(raw: dict) -> dict[str, str]:
    """Their values, in which one may use others, whatever the order."""
    values, open_names = {}, dict(raw)
    while open_names:
        ready = [n for n, value in open_names.items() if not set(_uses(n, value)) & (set(open_names) | {n})]
        if not ready:
            raise _Bad(f"variables: {', '.join(open_names)} use each other")
        for name in ready:
            values[name] = _Filler(values)(f"variables: {name}", str(open_names.pop(name)))
    return values


def _uses(name: str, value) -> list[str]:
    if not isinstance(value, str | int | float):
        raise _Bad(f"variables: {name} must be text or a number, got {value!r}")
    return [found["named"] or found["braced"] for found in Template.pattern.finditer(str(value))]


class _Filler:
    """Replaces `$name` in a text, or in each text of a list; other values stay."""

    def __init__(self, values: dict[str, str]):
        self.values = values

    def __call__(self, key: str, value):
        if isinstance(value, list):
            return [self(key, one) for one in value]
        if not isinstance(value, str):
            return value
        try:
            return Template(value).substitute(self.values)
        except KeyError as error:
            raise _Bad(f"{key}: no variable ${error.args[0]}; there are {', '.join(self.values)}") from None
        except ValueError:
            raise _Bad(f"{key}: a lone $ in {value!r}; $$ stands for the sign itself") from None


def _arm(name: str, table: dict, raw: dict, steps: int | None, fill: _Filler) -> Arm:
    where = f"arms.{name}"
    if not isinstance(table, dict):
        raise _Bad(f"{where}: must be a table, got {table!r}")
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name == "start":
        raise _Bad(f"{where}: a name is letters, digits, - and _, and not `start`, which is the start model's")
    table = dict(table)
    own = {key: table.pop(key) for key in ("title", "steps", "paired-share", "unpaired-share") if key in table}
    sclip = table.get("loss", raw.get("train", {}).get("loss")) == "sclip"
    flags = {**raw.get("train", {}), **(raw.get("train-sclip", {}) if sclip else {}), **table}
    flags = {flag: fill(f"{where}: {flag}", value) for flag, value in flags.items() if value is not False}
    for flag, value in flags.items():
        if flag in RUNNERS_OWN:
            raise _Bad(f"{where}: {flag} is set by the study itself")
        if flag.startswith("-") or isinstance(value, dict):
            raise _Bad(f"{where}: {flag} must be a flag's name without dashes and a plain value, got {value!r}")
    for needed in ("model", "train-data"):
        if needed not in flags:
            raise _Bad(f"{where}: no {needed}, neither there nor in [train]")
    shares = [_share(f"{where}: {key}", own.get(key, 1.0)) for key in ("paired-share", "unpaired-share")]
    if "unpaired-share" in own and not sclip:
        raise _Bad(f'{where}: unpaired-share does nothing without loss = "sclip"')
    steps = _at_least_one(f"{where}: steps", own.get("steps", steps))
    return Arm(name, fill(f"{where}: title", own.get("title", name)), flags, steps, *shares)


def _share(key: str, value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise _Bad(f"{key}: must be above 0 and at most 1, got {value!r}")
    return float(value)


def _at_least_one(key: str, value):
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise _Bad(f"{key}: must be a whole number of at least 1, got {value!r}")
    return value


def _seeds(values: list) -> tuple[int, ...]:
    whole = all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in values)
    if not values or not whole or len(set(values)) < len(values):
        raise _Bad(f"seeds: must be different whole numbers of at least 0, got {values!r}")
    return tuple(values)


def _prepare(table, fill: _Filler) -> Prepare:
    if not isinstance(table, dict) or not isinstance(table.get("run"), str) or set(table) - {"run", "makes"}:
        raise _Bad(f"prepare: each needs `run`, a command as text, and may have `makes`, got {table!r}")
    try:
        command = tuple(shlex.split(fill("prepare", table["run"])))
    except ValueError as error:
        raise _Bad(f"prepare: {error} in {table['run']!r}") from None
    if not command or command[0] not in ("sclip", "python"):
        raise _Bad(f"prepare: a command begins with `sclip` or `python`, got {table['run']!r}")
    return Prepare(command, tuple(Path(path) for path in fill("prepare: makes", table.get("makes", []))))


def _evaluation(raw: dict, fill: _Filler) -> Evaluation:
    raw = dict(raw)
    sets = {}
    for kind in ("zeroshot", "retrieval"):
        table = raw.pop(kind, {})
        if not isinstance(table, dict):
            raise _Bad(f"evaluate: {kind} must be a table of names and folders, got {table!r}")
        sets[kind] = {name: fill(f"evaluate: {kind}", str(folder)) for name, folder in table.items()}
    if not any(sets.values()):
        raise _Bad("evaluate: neither zeroshot nor retrieval names a set")
    numbers = {key: _at_least_one(f"evaluate: {key}", raw.pop(key)) for key in ("points", "bootstrap") if key in raw}
    for key in ("json", "ranks", "model", "pretrained"):
        if key in raw:
            raise _Bad(f"evaluate: {key} is set by the study itself")
    return Evaluation(**sets, **numbers, flags={key: fill("evaluate", value) for key, value in raw.items()})
