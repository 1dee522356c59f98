"""The demo's table and its sentence on what came out."""

import json
import statistics
from pathlib import Path

from sclip_plugin.demo.steps import result_file, run_name

ARMS = {"start": "start model", "supervised": "supervised", "sclip": "S-CLIP"}
COLUMNS = (
    "zero-shot theme accuracy",
    "mean R@1,5,10",
    "image retrieval R@1",
    "R@5",
    "R@10",
    "text retrieval R@1",
    "R@5",
    "R@10",
)


def measures(path: Path) -> list[float]:
    """`COLUMNS` of one evaluation, in percent."""
    found: dict[str, float] = {}
    for record in json.loads(path.read_text())["results"]:
        found |= record["metrics"]
    recalls = [found[f"{way}_retrieval_recall@{k}"] for way in ("image", "text") for k in (1, 5, 10)]
    return [100 * value for value in (found["acc1"], statistics.fmean(recalls), *recalls)]


def collect(out: Path, seeds: int) -> dict[str, list[list[float]]]:
    """{arm: measures of each seed}."""
    table = {"start": [measures(result_file(out, "start"))]}
    for arm in ("supervised", "sclip"):
        table[arm] = [measures(result_file(out, run_name(arm, seed))) for seed in range(seeds)]
    return table


def markdown(results: dict[str, list[list[float]]]) -> str:
    """The table, mean ± standard deviation where there are several seeds."""
    lines = ["| % | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for arm, runs in results.items():
        cells = [_cell(column) for column in zip(*runs)]
        lines.append(f"| {ARMS[arm]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values) -> str:
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


def verdict(results: dict[str, list[list[float]]], images: int) -> str:
    """What came out, whichever way, with the size of chance beside it."""
    lines = []
    for index in (0, 1):
        sclip, supervised = (statistics.fmean(run[index] for run in results[arm]) for arm in ("sclip", "supervised"))
        word = "above" if sclip > supervised else "below"
        lines.append(f"{COLUMNS[index]}: S-CLIP is {abs(sclip - supervised):.1f} points {word} supervised fine-tuning.")
    share = statistics.fmean(run[0] for run in results["sclip"]) / 100
    error = 100 * (share * (1 - share) / images) ** 0.5
    seeds = len(results["sclip"])
    lines.append(
        f"{images} held-out icons, {seeds} seed{'s' if seeds > 1 else ''}: "
        f"the standard error of one accuracy is about {error:.1f} points; read small differences accordingly."
    )
    return "\n".join(lines)
