"""Sound inputs beside those of tests/helpers/formats.py: tables, labelled tars, shards, evaluation sets, a model."""

import contextlib
import io
import json
import shutil
from pathlib import Path

from tests.faults.archives import Member, write
from tests.faults.weights import save_checkpoint
from tests.helpers import conversion, formats
from tests.helpers.conversion import image

KEYWORDS = "# by hand\ntree\ngreen tree\nred\t# 5\nblue\nnumber\n"


def csv(root: Path) -> None:
    """captions.csv with labels and groups, and photos/."""
    conversion.source(root, captioned=12, bare=4)


def tsv(root: Path) -> None:
    """captions.tsv beside its images."""
    root.mkdir(parents=True)
    rows = []
    for number in range(10):
        (root / f"{number}.jpg").write_bytes(image(number))
        rows.append((f"{number}.jpg", f"a thing of kind {number}"))
    conversion.write_csv(root / "captions.tsv", rows, ("image", "caption"), "\t")


def rsicd(root: Path) -> None:
    """RSICD with its lists of classes."""
    formats.karpathy(root)
    formats.class_lists(root)


def webdataset(root: Path) -> None:
    """Two tars of samples with text, JSON and class numbers, and classnames.txt."""
    root.mkdir(parents=True)
    for shard in range(2):
        members = []
        for number in range(shard * 5, shard * 5 + 5):
            about = {"captions": [f"a thing {number}", f"thing {number} again"], "label": "tree"}
            members += [
                Member(f"s{number}.jpg", image(number)),
                Member(f"s{number}.txt", f"a thing {number}".encode()),
                Member(f"s{number}.json", json.dumps(about).encode()),
                Member(f"s{number}.cls", str(number % 2).encode()),
            ]
        write(root / f"{shard:05d}.tar", members)
    (root / "classnames.txt").write_text("tree\nriver\n")


def shards(root: Path) -> None:
    """What `sclip convert` wrote: paired/, unpaired/ and val/."""
    _converted(root, "--val-ratio", "0.2", "--shards", "2")


def classes(root: Path) -> None:
    """A classification set that `sclip convert` wrote."""
    _converted(root / "all", "--as", "classification", "things")
    for path in list((root / "all" / "things").iterdir()):
        shutil.move(path, root)
    shutil.rmtree(root / "all")


def _converted(root: Path, *flags: str) -> None:
    from sclip_plugin.cli import main

    source = root.parent / "source of shards"
    csv(source)
    line = ["convert", str(source / "captions.csv"), "--images", str(source / "photos"), "--label-column", "label"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([*line, "--out", str(root), *flags]) == 0
    shutil.rmtree(source)


def training(root: Path) -> None:
    """Shards and the text files that keywords and training read."""
    shards(root)
    (root / "keywords.txt").write_text(KEYWORDS)
    (root / "stop-words.txt").write_text("number\nsome\n")
    (root / "classes.txt").write_text("green tree\nred tree\nblue\nriver\n")


def evaluation(root: Path) -> None:
    """A tiny model, a checkpoint of it, and an evaluation set of each kind."""
    import torch

    from sclip_plugin.evaluation.models import load_model
    from tests.evaluation.sets import classification_set, model_with_weights, retrieval_set

    name = model_with_weights(root / "model")
    state = load_model(name, None, "cpu", "fp32")[0].state_dict()
    moved = {key: value + 0.01 if torch.is_floating_point(value) else value for key, value in state.items()}
    save_checkpoint(root / "tuned.pt", moved)
    classification_set(root / "c")
    retrieval_set(root / "r")


def inspection(root: Path) -> None:
    """A tiny model with a checkpoint, shards and keywords."""
    training(root)
    evaluation(root)
