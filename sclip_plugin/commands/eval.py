"""Evaluate checkpoints by zero-shot classification and retrieval, on sets in CLIP_benchmark's layout.

Example:
    sclip eval logs/RUN --zeroshot aid=shards/aid --retrieval val=shards/val
    sclip eval --model ViT-B-32-quickgelu --pretrained openai --zeroshot aid=shards/aid --retrieval val=shards/val

RUN, the folder of a training run, stands for the model, its precision and its preprocessing, as the run recorded them,
and for its last checkpoint; `--pretrained epoch_3.pt` names another one. A `--model` or `--precision` that the run was
not trained with is refused. Without RUN, `--pretrained` is a training checkpoint, a weights file, or one of open_clip's
tags; without it, `--model local-dir:DIR` takes the weights in DIR. Given several times, each is evaluated. The command
prints a table in percent. `--json` writes the measures under CLIP_benchmark's names. `--bootstrap 1000` adds 95%
intervals: how far the measures would move with other images.

`--knn` and `--linear-probe` classify by image features alone, learnt from DIR/train, or, where there is none, from the
other test images; `--shots 1 4 16` adds the same from so few images of each class. `--regions` asks which crop of a
picture a caption means: DIR holds images/ and annotations.json, in COCO's format. DIR without NAME= names itself.
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
from sclip_plugin.commands.flags.run import ChosenModel, add_run_argument, chosen_model, refuse_other_activation
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
        model: the model, with the run that it comes from, if any.
        checkpoints: what `--pretrained` names, or the run's checkpoint; (None,) for the model's own weights.
        sets: the evaluation sets.
        options: how they are evaluated.
        json: the file for the measures, if any.
        ranks: the file for the ranks, if any.
    """

    model: ChosenModel
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
    add_run_argument(parser)
    parser.add_argument(
        "--pretrained", action="append", help="checkpoint file or pretrained tag, or a checkpoint of RUN; repeatable"
    )
    add_set_arguments(parser, transfer=True)
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
    chosen, device = request.model, request.options.device
    if chosen.run is not None:
        print(f"{chosen.run.folder}: --model {chosen.name} --precision {chosen.precision}, as recorded")
        print("checkpoint:", *(f"{checkpoint}" for checkpoint in request.checkpoints), flush=True)
    for checkpoint in request.checkpoints:
        loaded = load_model(chosen.name, checkpoint, device, chosen.precision, options=chosen.options)
        results = evaluate_model(*loaded, request.sets, request.options)
        print(f"{checkpoint}\n{table(results)}\n" if request.several else table(results), flush=True)
        whose, place = ({"pretrained": checkpoint}, f"{checkpoint}/") if request.several else ({}, "")
        records += [{**whose, **result.record()} for result in results]
        for result in results:
            ranks |= {f"{place}{result.set.place}/{name}": part for name, part in result.ranks.items()}
    _write(request, records, ranks)
    return 0


def _request(args: argparse.Namespace) -> Request:
    sets = requested_sets(args)
    if args.ranks and args.ranks.suffix != ".npz":
        raise UsageError(f"--ranks {args.ranks}: the name must end in .npz")
    twice = [name for name, number in Counter(args.pretrained or []).items() if number > 1]
    if twice:
        raise UsageError(f"--pretrained {twice[0]} is given twice")
    model = chosen_model(args.run_folder, args.model, args.precision)
    options = evaluation_options(args, model.precision, args.bootstrap)
    return Request(model, _checkpoints(model, args.pretrained or []), sets, options, args.json, args.ranks)


def _checkpoints(model: ChosenModel, named: Sequence[str]) -> tuple[str | None, ...]:
    """What is evaluated: files of the run, or what `--pretrained` names; (None,) for the model's own weights."""
    if model.run is not None:
        return tuple(str(model.run.checkpoint(name)) for name in named) or (str(model.run.checkpoint()),)
    check_model(model.name, [*named])
    for name in named:
        refuse_other_activation(model.name, name)
    return tuple(named) or (None,)


def _write(request: Request, records: list[dict[str, Any]], ranks: "dict[str, np.ndarray]") -> None:
    if request.ranks:
        import numpy as np

        buffer = io.BytesIO()
        arrays: dict[str, Any] = {**ranks}  # to numpy's stub, any of these names may be its flag `allow_pickle`
        np.savez_compressed(buffer, **arrays)
        write_atomic(request.ranks, buffer.getvalue())
    if request.json:
        whose = list(request.checkpoints) if request.several else request.checkpoints[0]
        report = {"model": request.model.name, "pretrained": whose, "precision": request.options.precision}
        write_atomic(request.json, json.dumps({**report, "results": records}, indent=2) + "\n")


def table(results: Sequence[SetResult]) -> str:
    """What a model measures, as text in percent, one block for each kind of set."""
    blocks = [[result for result in results if result.set.kind == kind] for kind in TASKS]
    return "\n\n".join(_block(block) for block in blocks if block)


def _block(results: Sequence[SetResult]) -> str:
    task, names = TASKS[results[0].set.kind], list(results[0].metrics)
    spans = any(result.intervals is not None for result in results)
    titles = [f"{short_name(name):>{9 if spans else 0}}" for name in names]
    width = max(len(task), *(len(result.set.title) for result in results))
    lines = ["  ".join([f"{task:<{width}}", f"{'images':>7}", *titles])]
    for result in results:
        cells = [f"{100 * result.metrics[name]:>{len(title)}.1f}" for name, title in zip(names, titles)]
        lines.append("  ".join([f"{result.set.title:<{width}}", f"{result.counts['images']:>7}", *cells]))
        if result.intervals is not None:
            ends = [[f"{100 * end:.1f}" for end in result.intervals[name]] for name in names]
            cells = [f"{'–'.join(pair):>{len(title)}}" for pair, title in zip(ends, titles)]
            lines.append("  ".join([f"{'  95% interval':<{width}}", " " * 7, *cells]))
    return "\n".join(lines)
