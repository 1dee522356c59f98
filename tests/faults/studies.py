"""A finished study made by hand, and damage to its TOML file and results."""

import json
from pathlib import Path

from tests.faults import blunt
from tests.faults.damage import Damage, Rng, files
from tests.faults.tables import break_lines
from tests.faults.values import break_json

TEXT = """title = "A < B"
about = "why"
seeds = [0, 1]
processes = 1
threads = 1
baseline = "plain"
compare = [["better", "plain"]]
[variables]
shards = "$out/shards"
[[prepare]]
run = "sclip keywords $shards --out $out/keywords.txt"
makes = ["$out/keywords.txt"]
[train]
model = "local-dir:nowhere"
train-data = "$shards"
epochs = 1
lr = 1e-3
batch-size = 4
[train-sclip]
keywords = "$out/keywords.txt"
[arms.plain]
[arms.better]
title = "better"
loss = "sclip"
[evaluate]
points = 1
bootstrap = 20
zeroshot = { s = "$out/s" }
"""
LITERALS = (
    '"text"',
    "3",
    "-1",
    "10000000000000000000000000000000",
    "0.5",
    "inf",
    "nan",
    "true",
    "[]",
    "{}",
    "[[1]]",
    "1979-05-27",
    "9999-99-99",
    "07:32:00",
    '""',
    '"a\\nb"',
    '"$nothing"',
    '"$out/../../outside"',
    "[1, 'a']",
    "[" * 3000 + "]" * 3000,
    "{a = {b = 1}}",
    "'''x'''",
    '"\\ud800"',
    '"\\U0001F600"',
    "0x1F",
    '"../x"',
    '["a", "b", "c"]',
    "1e400",
    '"${"',
    '"a\'b"',
    "[true, false]",
    "200000000",
)


def write_study(folder: Path) -> None:
    """Write study.toml, and beside it the results of its four runs in out/."""
    import numpy as np

    folder.mkdir(parents=True)
    (folder / "study.toml").write_text(TEXT)
    out = folder / "out"
    (out / "results").mkdir(parents=True)
    (out / "done").mkdir()
    (out / "shards").mkdir()
    (out / "shards" / "000000.tar").touch()
    for seed, name in enumerate(("plain-0", "plain-1", "better-0", "better-1")):
        rng = np.random.default_rng(seed)
        ranks = {"s/class": rng.integers(0, 4, 20), "s/label": np.arange(20) % 3, "s/classes": np.array(3)}
        np.savez(out / "results" / f"{name}.npz", **ranks)
        metrics = {"acc1": float((ranks["s/class"] == 0).mean()), "acc5": 1.0, "mean_per_class_recall": 0.5}
        record = {"dataset": "s", "metrics": metrics, "counts": {"images": 20}}
        (out / "results" / f"{name}.json").write_text(json.dumps({"pretrained": "epoch_1.pt", "results": [record]}))
        (out / "done" / f"train-{name}.json").write_text(json.dumps({"command": ["x"], "inputs": {}, "seconds": 3.5}))
        log = out / "runs" / name / "out.log"
        log.parent.mkdir(parents=True)
        line = "2026 | INFO | Train Epoch: 0 [8/8 (100%)] Contrastive_loss: 2.5 (1.0) Loss: 9.0 (9.0)\n"
        log.write_text(line * 5 + "2026 | WARNING | sclip_plugin: pseudo-labels collapse\n")


def break_toml(rng: Rng, root: Path, path: Path) -> Damage:
    """Change a value, a key or a line of a TOML file."""
    if rng.random() < 0.2:
        return blunt.break_bytes(rng, root, path)
    if rng.random() < 0.15:
        return break_lines(rng, root, path)
    lines = path.read_text().splitlines()
    number = rng.choice([n for n, line in enumerate(lines) if " = " in line])
    key, _, value = lines[number].partition(" = ")
    way = rng.choice(("value", "value", "value", "key", "deep key", "again", "new", "table"))
    literal = rng.choice(LITERALS)
    other = rng.choice(
        ("a.b", '"a b"', '"../x"', '""', '"a\\nb"', "é", '"x/y"', "loss", "arms", "seed", "name", "zeroshot")
    )
    lines[number : number + 1] = {
        "value": [f"{key} = {literal}"],
        "key": [f"{other} = {value}"],
        "deep key": [".".join("a" * rng.choice((20, 3000))) + f" = {literal}"],
        "again": [lines[number], f"{key} = {literal}"],
        "new": [lines[number], f"{other} = {literal}"],
        "table": [
            lines[number],
            f"[{rng.choice(('arms', 'train', 'arms.x.y', 'evaluate.zeroshot', 'variables', 'x'))}.{other}]",
        ],
    }[way]
    path.write_text("\n".join(lines))
    return Damage(f"TOML: {way} at `{lines[number][:50]}`: {literal[:30]}", str(path.relative_to(root)))


def break_results(rng: Rng, root: Path) -> Damage:
    """Change a file that a study wrote."""
    path = rng.choice(files(root / "out", "*.json", "*.npz", "out.log"))
    if rng.random() < 0.1:
        return blunt.replace_file(rng, root, path)
    if path.suffix == ".json" and rng.random() < 0.8:
        return break_json(rng, root, path)
    return blunt.break_bytes(rng, root, path)
