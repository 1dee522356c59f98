"""Evaluate models between the start model and the tuned model, choose one, and write it as a checkpoint.

Example:
    sclip wiseft logs/RUN --retrieval val=shards/val --zeroshot general=sets/imagenet \\
        --by val --floor general=1.0 --out wise.pt

RUN, the folder of a training run, stands for the model, its precision and its preprocessing, as the run recorded them,
for the weights that it started from, and for its last checkpoint (or the one that `--tuned epoch_3.pt` names).
`--model`, `--start` and `--tuned` name any other two.

Fine-tuning gains in its domain and forgets elsewhere; between the two models there is often one that keeps most of both
(WiSE-FT, arXiv 2109.01903). `--by` names the sets to be best on; `--floor SET=POINTS` says how far another set may fall
below the start model. The choice is made on these sets: measure the chosen model on others.
"""

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sclip_plugin.commands.flags.evaluation import add_set_arguments, evaluation_options, requested_sets
from sclip_plugin.commands.flags.paths import named_path
from sclip_plugin.commands.flags.run import ChosenModel, add_run_argument, chosen_model, refuse_other_activation
from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.evaluation.evaluate import EvaluationOptions, NamedSet, check_sets, evaluate_model
from sclip_plugin.evaluation.models import check_model, check_pretrained, load_model
from sclip_plugin.evaluation.names import SCORE_TITLES, score

if TYPE_CHECKING:
    from sclip_plugin.commands.wiseft.interpolate import Point, State

ALPHAS = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1"
ENDINGS = {"out": (".pt", ".safetensors"), "plot": (".png",)}


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        model: the model, with the run that it comes from, if any.
        start: the start weights, a tag or a file; None for those of a local-dir.
        tuned: the tuned checkpoint.
        alphas: the points on the line, ascending; the first is 0, the start model.
        by: names of the sets to be best on.
        floors: how far each of these sets may fall below the start model, from 0 to 1.
        sets: the evaluation sets.
        options: how they are evaluated.
        out: the file for the chosen weights, if any.
        json: the file for all measures, if any.
        plot: the file for the picture, if any.
    """

    model: ChosenModel
    start: str | None
    tuned: str
    alphas: tuple[float, ...]
    by: tuple[str, ...]
    floors: dict[str, float]
    sets: tuple[NamedSet, ...]
    options: EvaluationOptions
    out: Path | None
    json: Path | None
    plot: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sclip wiseft`."""
    add_run_argument(parser)
    parser.add_argument("--start", help="start weights: tag or file (default: RUN's, or those of a local-dir)")
    parser.add_argument("--tuned", help="tuned checkpoint (default: RUN's last)")
    parser.add_argument("--alphas", default=ALPHAS, metavar="A,A", help=f"0: start, 1: tuned (default {ALPHAS})")
    parser.add_argument("--by", action="append", default=[], metavar="SET", help="be best on this set (default: all)")
    parser.add_argument(
        "--floor", action="append", default=[], metavar="SET=POINTS", help="at most so many points below the start"
    )
    parser.add_argument("--out", type=named_path, metavar="FILE", help="write the chosen weights: .pt or .safetensors")
    parser.add_argument("--json", type=named_path, metavar="FILE", help="write all measures to this file")
    parser.add_argument("--plot", type=named_path, metavar="FILE.png", help="draw the scores along the way")
    add_set_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate along the line, choose, write. Returns 0.

    Raises:
        DataError: no point keeps the floors, because the start model itself measures no finite number.
    """
    request = _request(args)
    check_sets(request.sets)
    from sclip_plugin.commands.wiseft.interpolate import choose

    ends, points, records = _evaluate_line(request)
    chosen = choose(points, request.by, request.floors)
    if chosen is None:
        raise DataError("no point keeps --floor; the start model itself measures no finite number")
    mean = 100 * statistics.fmean(chosen.scores[name] for name in request.by)
    what = " or ".join(SCORE_TITLES.values())
    print(f"chosen: alpha {chosen.alpha:g} (best on {', '.join(request.by)}: {mean:.1f}; {what}, %)")
    _write(request, ends, chosen, points, records)
    return 0


def _request(args: argparse.Namespace) -> Request:
    sets, model = requested_sets(args), chosen_model(args.run_folder, args.model, args.precision)
    options = evaluation_options(args, model.precision)
    names = [one.name for one in sets]
    alphas, floors = _alphas(args.alphas), dict(_floor(text, names) for text in args.floor)
    by = args.by or [name for name in names if name not in floors] or names
    if len(set(names)) < len(names):
        raise UsageError("a --zeroshot and a --retrieval set have one name; wiseft needs different ones")
    for name in by:
        if name not in names:
            raise UsageError(f"--by {name}: not one of {', '.join(names)}")
    for flag, endings in ENDINGS.items():
        path = getattr(args, flag)
        if path and path.suffix not in endings:
            raise UsageError(f"--{flag} {path}: the name must end in {' or '.join(endings)}")
    if not (args.out or args.json or args.plot):
        raise UsageError("nothing to write: pass --out FILE, --json FILE or --plot FILE")
    weights = (model, *_ends(model, args.start, args.tuned))
    return Request(*weights, alphas, tuple(by), floors, sets, options, args.out, args.json, args.plot)


def _ends(model: ChosenModel, start: str | None, tuned: str | None) -> tuple[str | None, str]:
    """The start weights, None for those of a local-dir, and the tuned checkpoint.

    Raises:
        UsageError: one of them is missing, or of a model with another activation.
        DataError: the run has no such checkpoint.
    """
    if model.run is not None:
        start = start or (None if ":" in model.run.model else model.run.pretrained)  # else open_clip ignored it
        if not start and ":" not in model.name:
            raise UsageError(f"{model.run.folder} began with random weights; pass --start")
        tuned = str(model.run.checkpoint(tuned, "--tuned"))
    if tuned is None:
        raise UsageError("no tuned model: pass RUN, the folder of a run, or --tuned")
    check_model(model.name, start)
    if model.run is None:
        for flag, weights in (("--start", start), ("--tuned", tuned)):
            refuse_other_activation(model.name, weights, flag)
    return start, tuned


def _alphas(text: str) -> tuple[float, ...]:
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise UsageError(f"--alphas must be numbers separated by commas, got {text!r}") from None
    if not found or not all(0 <= alpha <= 1 for alpha in found):
        raise UsageError(f"--alphas must be from 0 to 1, got {text!r}")
    return tuple(found) if found[0] == 0 else (0.0, *found)


def _floor(text: str, names: list[str]) -> tuple[str, float]:
    name, _, points = text.partition("=")
    try:
        drop = float(points)
    except ValueError:
        raise UsageError(f"--floor must be SET=POINTS, got {text!r}") from None
    if name not in names or not drop >= 0:
        raise UsageError(f"--floor {text}: {name} must be one of {', '.join(names)}, and POINTS at least 0")
    return name, drop / 100


def _evaluate_line(request: Request) -> "tuple[tuple[State, State], list[Point], list[dict[str, Any]]]":
    """Evaluate each point; prints a row for each.

    Returns:
        The weights of both ends on the CPU, the points with their scores, and the points' entries in the JSON report.
    """
    from sclip_plugin.commands.wiseft.interpolate import Point, interpolate

    device, chosen = request.options.device, request.model
    for flag, weights in (("--start", request.start), ("--tuned", request.tuned)):
        check_pretrained(chosen.name, weights, flag)
    common = (device, chosen.precision)
    start = _weights(load_model(chosen.name, request.start, *common, "--start", chosen.options)[0])
    model, preprocess, tokenizer = load_model(chosen.name, request.tuned, *common, "--tuned", chosen.options)
    ends = (start, _weights(model))
    points, records = [], []
    print("  ".join(["alpha", *(f"{one.name:>10}" for one in request.sets)]))
    for alpha in request.alphas:
        model.load_state_dict(interpolate(*ends, alpha))
        results = evaluate_model(model, preprocess, tokenizer, request.sets, request.options)
        points.append(Point(alpha, {result.set.name: score(result.metrics) for result in results}))
        records.append({"alpha": alpha, "results": [result.record() for result in results]})
        cells = [f"{100 * points[-1].scores[one.name]:>10.1f}" for one in request.sets]
        print("  ".join([f"{alpha:5.2f}", *cells]), flush=True)
    return ends, points, records


def _weights(model: Any) -> "State":
    """A model's weights on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def _write(
    request: Request,
    ends: "tuple[State, State]",
    chosen: "Point",
    points: "list[Point]",
    records: list[dict[str, Any]],
) -> None:
    from sclip_plugin.atomic import write_atomic
    from sclip_plugin.commands.wiseft.interpolate import checkpoint_bytes, interpolate
    from sclip_plugin.commands.wiseft.picture import draw

    if request.json:
        weights = {"model": request.model.name, "start": request.start, "tuned": request.tuned}
        report = {**weights, "by": list(request.by), "chosen": chosen.alpha, "points": records}
        write_atomic(request.json, json.dumps(report, indent=2) + "\n")
    if request.plot:
        write_atomic(request.plot, draw(points, chosen))
    if request.out:
        state = interpolate(*ends, chosen.alpha)
        write_atomic(request.out, checkpoint_bytes(state, f"wiseft alpha {chosen.alpha:g}", request.out.suffix))
    for path in (request.json, request.plot, request.out):
        if path:
            print(f"-> {path}")
