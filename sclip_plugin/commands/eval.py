"""Evaluate checkpoints by zero-shot classification and retrieval, on sets in CLIP_benchmark's layout.

Example:
    sclip eval --model ViT-B-32-quickgelu --pretrained logs/RUN/checkpoints/epoch_25.pt \\
        --zeroshot aid=shards/aid --retrieval val=shards/val

`--pretrained` is a training checkpoint, a weights file, or one of open_clip's tags; without it, `--model local-dir:DIR`
takes the weights in DIR. Given several times, each is evaluated. The command prints a table in percent. `--json` writes
the measures under CLIP_benchmark's names. `--bootstrap 1000` adds 95% intervals: how far the measures would move with
other images.
"""

import argparse
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sclip_plugin.atomic import write_atomic
from sclip_plugin.commands.flags.evaluation import add_set_arguments, evaluation_options, requested_sets
from sclip_plugin.commands.flags.paths import named_path
from sclip_plugin.errors import UsageError
from sclip_plugin.evaluation.evaluate import EvaluationOptions, NamedSet, SetResult, check_sets, evaluate_model
from sclip_plugin.evaluation.models import check_model, load_model
from sclip_plugin.evaluation.names import TASKS, short_name

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        model: open_clip's name of the model, or `local-dir:DIR`.
        checkpoints: what `--pretrained` names; (None,) for the model's own weights.
        sets: the evaluation sets.
        options: how they are evaluated.
        json: the file for the measures, if any.
        ranks: the file for the ranks, if any.
    """

    model: str
    checkpoints: tuple[str | None, ...]
    sets: tuple[NamedSet, ...]
    options: EvaluationOptions
    json: Path | None
    ranks: Path | None

    @property
    def several(self) -> bool:
        """True where more than one checkpoint is evaluated, so that each measure must say whose it is."""
        return len(self.checkpoints) > 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sclip eval`."""
    parser.add_argument("--model", required=True, help="open_clip model name, or local-dir:DIR")
    parser.add_argument("--pretrained", action="append", help="checkpoint file or pretrained tag; repeatable")
    add_set_arguments(parser)
    parser.add_argument("--bootstrap", type=int, metavar="N", help="95%% intervals from N resamplings of the images")
    parser.add_argument("--json", type=named_path, metavar="OUT", help="write the measures to this file")
    parser.add_argument(
        "--ranks", type=named_path, metavar="OUT.npz", help="write the rank of the first right answer to each query"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate, print, write. Returns 0."""
    request = _request(args)
    check_sets(request.sets)
    records: list[dict[str, Any]] = []
    ranks: dict[str, np.ndarray] = {}
    for checkpoint in request.checkpoints:
        loaded = load_model(request.model, checkpoint, request.options.device, request.options.precision)
        results = evaluate_model(*loaded, request.sets, request.options)
        print(f"{checkpoint}\n{table(results)}\n" if request.several else table(results), flush=True)
        whose, place = ({"pretrained": checkpoint}, f"{checkpoint}/") if request.several else ({}, "")
        records += [{**whose, **result.record()} for result in results]
        for result in results:
            ranks |= {f"{place}{result.set.name}/{name}": part for name, part in result.ranks.items()}
    _write(request, records, ranks)
    return 0


def _request(args: argparse.Namespace) -> Request:
    sets, options = requested_sets(args), evaluation_options(args, args.bootstrap)
    if args.ranks and args.ranks.suffix != ".npz":
        raise UsageError(f"--ranks {args.ranks}: the name must end in .npz")
    twice = [name for name, number in Counter(args.pretrained or []).items() if number > 1]
    if twice:
        raise UsageError(f"--pretrained {twice[0]} is given twice")
    check_model(args.model, args.pretrained)
    return Request(args.model, tuple(args.pretrained or [None]), sets, options, args.json, args.ranks)


def _write(request: Request, records: list[dict[str, Any]], ranks: "dict[str, np.ndarray]") -> None:
    if request.ranks:
        import numpy as np

        buffer = io.BytesIO()
        arrays: dict[str, Any] = {**ranks}  # to numpy's stub, any of these names may be its flag `allow_pickle`
        np.savez_compressed(buffer, **arrays)
        write_atomic(request.ranks, buffer.getvalue())
    if request.json:
        whose = list(request.checkpoints) if request.several else request.checkpoints[0]
        report = {"model": request.model, "pretrained": whose, "precision": request.options.precision}
        write_atomic(request.json, json.dumps({**report, "results": records}, indent=2) + "\n")


def table(results: Sequence[SetResult]) -> str:
    """What a model measures, as text in percent, one block for each kind of set."""
    blocks = [[result for result in results if result.set.kind == kind] for kind in TASKS]
    return "\n\n".join(_block(block) for block in blocks if block)


def _block(results: Sequence[SetResult]) -> str:
    task, names = TASKS[results[0].set.kind], list(results[0].metrics)
    spans = any(result.intervals is not None for result in results)
    titles = [f"{short_name(name):>{9 if spans else 0}}" for name in names]
    width = max(len(task), *(len(result.set.name) for result in results))
    lines = ["  ".join([f"{task:<{width}}", f"{'images':>7}", *titles])]
    for result in results:
        cells = [f"{100 * result.metrics[name]:>{len(title)}.1f}" for name, title in zip(names, titles)]
        lines.append("  ".join([f"{result.set.name:<{width}}", f"{result.counts['images']:>7}", *cells]))
        if result.intervals is not None:
            ends = [[f"{100 * end:.1f}" for end in result.intervals[name]] for name in names]
            cells = [f"{'–'.join(pair):>{len(title)}}" for pair, title in zip(ends, titles)]
            lines.append("  ".join([f"{'  95% interval':<{width}}", " " * 7, *cells]))
    return "\n".join(lines)
