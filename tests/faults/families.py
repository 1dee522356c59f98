"""What is fuzzed: for every source format and command, sound material, its damage, and the command line."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults import material
from tests.faults.archives import break_tar
from tests.faults.blunt import break_bytes, rename_file, replace_file
from tests.faults.columns import break_columns, break_hdf5
from tests.faults.damage import NOTHING, Damage, Rng, files
from tests.faults.pictures import break_image
from tests.faults.studies import break_results, break_toml, write_study
from tests.faults.tables import break_lines, break_table
from tests.faults.values import break_json, break_json_lines
from tests.faults.weights import break_checkpoint
from tests.helpers import formats

Damager = Callable[[Rng, Path], Damage]
PICTURES = ("*.jpg", "*.jpeg", "*.png", "*.tif")


@dataclass(frozen=True)
class Family:
    """Tries of one kind.

    Attributes:
        name: `convert:FORMAT`, or the command.
        weight: its share of the tries.
        build: writes the sound material into a folder.
        damage: breaks one thing in a copy of it.
        line: the command line, from the folder `in` beside which `out` is written.
        writes: what the command may write, relative to the folder that holds `in`.
    """

    name: str
    weight: int
    build: Callable[[Path], object]
    damage: Damager
    line: Callable[[Rng, Path], list[str]]
    writes: tuple[str, ...] = ("out", "out-preview.png")


def _files(breaker: Callable[..., Damage], *patterns: str, **options: object) -> Damager:
    """Break one of the files of these names."""
    return lambda rng, root: breaker(rng, root, rng.choice(files(root, *patterns)), **options)


def _one_of(*choices: tuple[int, Damager]) -> Damager:
    """Break in one of several ways, by weight."""

    def damage(rng: Rng, root: Path) -> Damage:
        (chosen,) = rng.choices([one for _, one in choices], [weight for weight, _ in choices])
        return chosen(rng, root)

    return damage


def _text_format(breaker: Damager, *patterns: str, images: int = 4) -> Damager:
    """Break the file of captions by `breaker`, by its bytes, or as a file; or an image."""
    return _one_of(
        (5, breaker),
        (2, _files(break_bytes, *patterns)),
        (1, _files(replace_file, *patterns)),
        (images, _files(break_image, *PICTURES)),
    )


def _convert(source: str, *flags: str) -> Callable[[Rng, Path], list[str]]:
    """`sclip convert` of in/SOURCE, with some further flags by chance."""

    def line(rng: Rng, root: Path) -> list[str]:
        path = f"in/{source}" if source else "in"
        return ["convert", path, "--out", "out", *(flag.replace("{in}", "in") for flag in flags), *_by_chance(rng)]

    return line


def _by_chance(rng: Rng) -> list[str]:
    found: list[str] = []
    for share, flags in (
        (0.1, ["--dry-run"]),
        (0.5, ["--check"]),
        (0.3, ["--val-ratio", "0.3"]),
        (0.2, ["--paired-ratio", "0.5"]),
        (0.15, ["--as", "classification", "things"]),
        (0.1, ["--resize", "16"]),
        (0.1, ["--quality", "50"]),
        (0.2, ["--shards", "2"]),
        (0.3, ["--seed", "7"]),
    ):
        if rng.random() < share:
            found += flags
    return [*found, "--workers", rng.choice(("1", "2"))]


def _source(
    name: str, weight: int, build: Callable[[Path], object], damage: Damager, source: str = "", *flags: str
) -> Family:
    return Family(f"convert:{name}", weight, build, damage, _convert(source, *flags))


def _table(separator: str) -> Callable[..., Damage]:
    return lambda rng, root, path: break_table(rng, root, path, separator)


_IMAGES = _files(break_image, *PICTURES)
_TRAINING_TARS = _one_of(
    (4, _files(break_tar, "paired/*.tar")),
    (2, _files(break_tar, "unpaired/*.tar")),
    (1, _files(replace_file, "paired/*.tar", "unpaired/*.tar")),
)
_TARS = _one_of((6, _files(break_tar, "*.tar")), (1, _files(replace_file, "*.tar")))


def _record(breaker: Callable[..., Damage]) -> Callable[..., Damage]:
    return lambda rng, root, path: breaker(rng, root, path, one_record=True)


def _index(rng: Rng, root: Path, path: Path) -> Damage:
    """Break a list of files; what is not listed is not read."""
    return replace(break_json(rng, root, path), lost=None)


def _names_only(rng: Rng, root: Path) -> Damage:
    return rename_file(rng, root, rng.choice(files(root, *PICTURES)))


_LISTS = _text_format(_files(break_lines, "*.txt"), "*.txt")

SOURCES = (
    _source("table", 80, formats.table, _text_format(_files(_table(";"), "*.csv"), "*.csv"), "captions.csv"),
    _source(
        "csv",
        110,
        material.csv,
        _text_format(_files(_table(","), "*.csv"), "*.csv"),
        "captions.csv",
        "--images",
        "{in}/photos",
        "--label-column",
        "label",
        "--group-column",
        "group",
    ),
    _source("tsv", 60, material.tsv, _text_format(_files(_table("\t"), "*.tsv"), "*.tsv"), "captions.tsv"),
    _source("jsonl", 90, formats.jsonl, _text_format(_files(break_json_lines, "*.jsonl"), "*.jsonl"), "data.jsonl"),
    _source("json", 60, formats.json_array, _text_format(_files(break_json, "*.json"), "*.json"), "data.json"),
    _source("karpathy", 90, formats.karpathy, _text_format(_files(break_json, "*.json"), "*.json")),
    _source(
        "rsicd",
        40,
        material.rsicd,
        _one_of((1, _text_format(_files(break_json, "*.json"), "*.json")), (1, _LISTS)),
        "",
        "--recipe",
        "rsicd",
    ),
    _source(
        "coco",
        90,
        formats.coco,
        _text_format(_files(break_json, "*.json"), "*.json"),
        "captions.json",
        "--images",
        "{in}/val2017",
    ),
    _source("imagefolder", 70, formats.imagefolder, _text_format(_files(_table(","), "*.csv"), "*.csv")),
    _source(
        "arrow",
        80,
        formats.arrow,
        _one_of(
            (4, _files(break_columns, "*.arrow")),
            (1, _files(break_bytes, "*.json")),
            (1, _files(_index, "dataset_dict.json", "state.json")),
            (1, _files(replace_file, "*.arrow", "*.json")),
        ),
    ),
    _source(
        "parquet", 90, formats.parquet, _one_of((6, _files(break_columns, "*.parquet")), (1, _files(replace_file)))
    ),
    _source("img2dataset", 70, formats.img2dataset, _TARS),
    _source(
        "webdataset",
        80,
        material.webdataset,
        _one_of((5, _TARS), (1, _files(break_lines, "*.txt")), (1, _files(break_bytes, "*.txt"))),
    ),
    _source("folder", 40, formats.folder, _one_of((3, _IMAGES), (1, _names_only))),
    _source("fashion200k", 50, formats.fashion200k, _LISTS),
    _source(
        "fashiongen", 60, formats.fashiongen, _one_of((6, _files(break_hdf5, "*.hdf5")), (1, _files(replace_file)))
    ),
    _source("polyvore", 60, formats.polyvore, _text_format(_files(break_json, "*.json"), "*.json")),
    _source("scicap", 50, formats.scicap, _text_format(_files(_record(break_json), "*.json"), "*.json")),
)

_SET_FILES = ("classnames.txt", "zeroshot_classification_templates.txt", "nshards.txt", "dataset_type.txt")
_SHARD_FILES = _one_of(
    (6, _TARS),
    (2, _files(break_json, "sizes.json", "manifest.json")),
    (1, _files(break_bytes, "sizes.json", "manifest.json", *_SET_FILES)),
    (2, _files(break_lines, *_SET_FILES)),
    (1, _files(replace_file, "*.json", "*.txt")),
)
_KEYWORD_FILES = _one_of(
    (3, _files(break_lines, "keywords.txt")),
    (1, _files(break_bytes, "keywords.txt")),
    (1, _files(replace_file, "keywords.txt")),
)
_MODEL_FILES = _one_of(
    (4, _files(break_checkpoint, "*.pt", "*.safetensors")),
    (3, _files(break_json, "open_clip_config.json")),
    (1, _files(break_bytes, "open_clip_config.json")),
    (1, _files(replace_file, "*.pt", "*.safetensors")),
)


def _split(rng: Rng, root: Path) -> list[str]:
    more = rng.choice(([], ["--val-ratio", "0.2"], ["--shards", "2"], ["--seed", "3"]))
    return ["split", "in", "--out", "out", "--paired-ratio", rng.choice(("0.5", "1.0")), *more]


def _verify(rng: Rng, root: Path) -> list[str]:
    return [
        "verify",
        "in",
        *(["--sheet", "out/sheet.png"] if rng.random() < 0.1 else []),
        "--workers",
        rng.choice(("1", "3")),
    ]


def _keywords(rng: Rng, root: Path) -> list[str]:
    line = ["keywords", "in/paired", "--out", "out/keywords.txt"]
    if rng.random() < 0.3:
        return [*line, "--method", "classes", "--classes", "in/classes.txt"]
    more = ["--stop-words", "in/stop-words.txt"] if rng.random() < 0.6 else []
    return [*line, "--method", rng.choice(("frequency", "frequency", "tfidf")), "--top", "20", *more]


def _loader(rng: Rng, root: Path) -> list[str]:
    more = rng.choice(([], [], ["--resampled"], ["--without-unpaired"]))
    return ["loader", "in/paired", "in/unpaired", "in/keywords.txt", *more]


def _eval(rng: Rng, root: Path) -> list[str]:
    line = ["eval", "--model", "local-dir:in/model", "--device", "cpu", "--batch-size", "4", "--json", "out/o.json"]
    line += rng.choice(([], ["--pretrained", "in/tuned.pt"], ["--pretrained", "in/model/open_clip_model.safetensors"]))
    line += ["--zeroshot", "c=in/c"] if rng.random() < 0.7 else []
    line += ["--retrieval", "r=in/r"] if rng.random() < 0.7 or "--zeroshot" not in line else []
    return [*line, *rng.choice(([], [], ["--bootstrap", "5"], ["--ranks", "out/r.npz"]))]


def _inspect(rng: Rng, root: Path) -> list[str]:
    return [
        "inspect",
        "--model",
        "local-dir:in/model",
        "--pretrained",
        "in/tuned.pt",
        "--device",
        "cpu",
        "--images",
        "2",
        "--train-data",
        "in/paired",
        "--unpaired-data",
        "in/unpaired",
        "--keywords",
        "in/keywords.txt",
        "--pairs",
        "8",
        "--out",
        "out/panel.html",
    ]


def _checkup(rng: Rng, root: Path) -> list[str]:
    line = ["checkup", "in", "--model", "local-dir:in/model", "--device", "cpu", "--workers", "1"]
    line += ["--pretrained", "in/tuned.pt"] if rng.random() < 0.5 else []
    line += ["--keywords", "in/keywords.txt"] if rng.random() < 0.7 else []
    line += ["--limit", "12"] if rng.random() < 0.3 else []
    return [*line, "--batch-size", "4", "--out", "out/checkup.png", "--json", "out/checkup.json"]


def _wiseft(rng: Rng, root: Path) -> list[str]:
    return [
        "wiseft",
        "--model",
        "local-dir:in/model",
        "--tuned",
        "in/tuned.pt",
        "--retrieval",
        "r=in/r",
        "--alphas",
        "0,1",
        "--device",
        "cpu",
        "--out",
        f"out/wise{rng.choice(('.pt', '.safetensors'))}",
    ]


def _study(rng: Rng, root: Path) -> list[str]:
    return ["study", "in/study.toml", "--out", "in/out", "--report-only"]


def _flags(rng: Rng, root: Path) -> list[str]:
    """A sound source and one hostile flag."""
    line = ["convert", "in/captions.csv", "--images", "in/photos", "--out", "out"]
    value = rng.choice(
        ("", " ", "nan", "inf", "-1", "0", "1", "9" * 30, "9" * 5000, "x", "../x", "a\nb", "\udcff", ",", "1e400")
    )
    flag = rng.choice(
        (
            "--val-ratio",
            "--paired-ratio",
            "--seed",
            "--shards",
            "--shard-size",
            "--resize",
            "--quality",
            "--workers",
            "--label-column",
            "--caption-column",
            "--val-split",
            "--unpaired-images",
            "--recipe",
            "--from",
            "--as",
            "--templates",
            "--subset",
            "--out",
            "--images",
        )
    )
    if flag == "--out":
        return [*line[:4], "--out", value if value != "../x" else "out"]
    if flag == "--as":
        return [*line, "--as", "classification", value, "--label-column", "label"]
    return [*line, f"{flag}={value}"]


COMMANDS = (
    Family("split", 90, material.shards, _SHARD_FILES, _split),
    Family("verify", 150, material.shards, _SHARD_FILES, _verify),
    Family("verify:classes", 50, material.classes, _SHARD_FILES, _verify),
    Family(
        "keywords",
        130,
        material.training,
        _one_of(
            (2, _files(break_tar, "paired/*.tar")),
            (2, _files(break_lines, "stop-words.txt", "classes.txt")),
            (1, _files(break_bytes, "stop-words.txt", "classes.txt")),
            (1, _files(replace_file, "stop-words.txt", "classes.txt", "paired/*.tar")),
        ),
        _keywords,
    ),
    Family(
        "loader",
        150,
        material.training,
        _one_of(
            (5, _TRAINING_TARS),
            (2, _files(break_json, "paired/sizes.json", "unpaired/sizes.json")),
            (1, _files(break_bytes, "paired/sizes.json")),
            (2, _KEYWORD_FILES),
        ),
        _loader,
    ),
    Family(
        "eval",
        120,
        material.evaluation,
        _one_of(
            (4, _MODEL_FILES),
            (2, _TARS),
            (2, _files(break_lines, *_SET_FILES)),
            (1, _files(break_bytes, *_SET_FILES)),
            (1, _files(replace_file, *_SET_FILES)),
        ),
        _eval,
    ),
    Family(
        "inspect",
        40,
        material.inspection,
        _one_of((2, _MODEL_FILES), (2, _TRAINING_TARS), (1, _KEYWORD_FILES)),
        _inspect,
    ),
    Family(
        "checkup",
        60,
        material.inspection,
        _one_of((2, _MODEL_FILES), (3, _TRAINING_TARS), (1, _KEYWORD_FILES)),
        _checkup,
    ),
    Family("wiseft", 12, material.evaluation, _MODEL_FILES, _wiseft),
    Family(
        "study",
        50,
        write_study,
        _one_of((3, _files(break_toml, "study.toml")), (2, break_results)),
        _study,
        ("in/out",),
    ),
    Family("flags", 60, material.csv, lambda rng, root: NOTHING, _flags),
)
FAMILIES = {family.name: family for family in (*SOURCES, *COMMANDS)}
