"""Weights between the start model and the tuned one, evaluated along the way; writes the chosen checkpoint.

Example:
    sclip wiseft --model ViT-B-32 --start openai --tuned logs/RUN/checkpoints/epoch_25.pt \\
        --retrieval val=shards/val --zeroshot general=sets/imagenet --by val --floor general=1.0 --out wise.pt

Fine-tuning gains in its domain and forgets elsewhere; between the two models there is often one that keeps most of both
(WiSE-FT, arXiv 2109.01903). `--by` names the sets to be best on; `--floor SET=POINTS` says how far another set may fall
below the start model. The choice is made on these sets: measure the chosen model on others.
"""

import json
import statistics
from pathlib import Path

from sclip_plugin.commands.flags.evaluation import (
    add_set_arguments,
    check_sets,
    device_of,
    evaluate_model,
    requested_sets,
)
from sclip_plugin.errors import DataError, UsageError

POINTS = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1"


def add_arguments(parser) -> None:
    """Arguments of `sclip wiseft`."""
    parser.add_argument("--model", required=True, help="open_clip model name, or local-dir:DIR")
    parser.add_argument("--start", help="start weights: tag or file (default: those of a local-dir)")
    parser.add_argument("--tuned", required=True, help="tuned checkpoint")
    parser.add_argument("--alphas", default=POINTS, metavar="A,A", help=f"0: start, 1: tuned (default {POINTS})")
    parser.add_argument("--by", action="append", default=[], metavar="SET", help="be best on this set (default: all)")
    parser.add_argument(
        "--floor", action="append", default=[], metavar="SET=POINTS", help="at most so many points below the start"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the chosen weights: .pt or .safetensors")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measures to this file")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the scores along the way")
    add_set_arguments(parser)


def run(args) -> int:
    """Evaluate along the line, choose, write. Returns 0."""
    sets = requested_sets(args)
    names = [name for _, name, _ in sets]
    alphas, floors = _alphas(args.alphas), dict(_floor(text, names) for text in args.floor)
    by = args.by or [name for name in names if name not in floors] or names
    _check(args, names, by)
    check_sets(sets)
    from sclip_plugin.commands.wiseft.interpolate import Point, choose, score

    loaded, states = _load(args)
    points, records = [], []
    print("  ".join(["alpha", *(f"{name:>10}" for name in names)]))
    for alpha in alphas:
        found = _evaluate(loaded, states, alpha, sets, args)
        points.append(Point(alpha, {record["dataset"]: score(record["metrics"]) for record in found}))
        records.append({"alpha": alpha, "results": found})
        print("  ".join([f"{alpha:5.2f}", *(f"{100 * points[-1].scores[name]:>10.1f}" for name in names)]), flush=True)
    chosen = choose(points, by, floors)
    if chosen is None:
        raise DataError("no point keeps --floor; the start model itself measures no finite number")
    mean = 100 * statistics.fmean(chosen.scores[name] for name in by)
    print(f"chosen: alpha {chosen.alpha:g} (best on {', '.join(by)}: {mean:.1f}; accuracy or mean R@1,5,10, %)")
    _write(args, states, chosen, points, records, by)
    return 0


def _alphas(text: str) -> list[float]:
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise UsageError(f"--alphas must be numbers separated by commas, got {text!r}") from None
    if not found or not all(0 <= alpha <= 1 for alpha in found):
        raise UsageError(f"--alphas must be from 0 to 1, got {text!r}")
    return found if found[0] == 0 else [0.0, *found]


def _floor(text: str, names: list[str]) -> tuple[str, float]:
    name, _, points = text.partition("=")
    try:
        drop = float(points)
    except ValueError:
        raise UsageError(f"--floor must be SET=POINTS, got {text!r}") from None
    if name not in names or not drop >= 0:
        raise UsageError(f"--floor {text}: {name} must be one of {', '.join(names)}, and POINTS at least 0")
    return name, drop / 100


def _check(args, names: list[str], by: list[str]) -> None:
    from sclip_plugin.evaluation.models import check_model

    if len(set(names)) < len(names):
        raise UsageError("a --zeroshot and a --retrieval set have one name; wiseft needs different ones")
    for name in by:
        if name not in names:
            raise UsageError(f"--by {name}: not one of {', '.join(names)}")
    for flag, suffixes in (("out", (".pt", ".safetensors")), ("plot", (".png",))):
        path = getattr(args, flag)
        if path and path.suffix not in suffixes:
            raise UsageError(f"--{flag} {path}: the name must end in {' or '.join(suffixes)}")
    if not (args.out or args.json or args.plot):
        raise UsageError("nothing to write: pass --out FILE, --json FILE or --plot FILE")
    check_model(args.model, args.start)


def _load(args):
    """What `load_model` gives, and the two models' weights on the CPU."""
    from sclip_plugin.evaluation.models import load_model

    device, states = device_of(args), []
    for weights in (args.start, args.tuned):
        loaded = load_model(args.model, weights, device, args.precision)
        states.append({name: tensor.detach().cpu().clone() for name, tensor in loaded[0].state_dict().items()})
    return loaded, states


def _evaluate(loaded, states, alpha: float, sets, args) -> list[dict]:
    from sclip_plugin.commands.wiseft.interpolate import interpolate

    loaded[0].load_state_dict(interpolate(*states, alpha))
    args.bootstrap = None
    return [
        {key: value for key, value in record.items() if key != "ranks"}
        for record in evaluate_model(loaded, sets, args, device_of(args))
    ]


def _write(args, states, chosen, points, records, by) -> None:
    import io

    import torch

    from sclip_plugin.atomic import write_atomic
    from sclip_plugin.commands.wiseft.interpolate import interpolate

    if args.json:
        report = {"model": args.model, "start": args.start, "tuned": args.tuned, "by": by}
        report |= {"chosen": chosen.alpha, "points": records}
        write_atomic(args.json, json.dumps(report, indent=2) + "\n")
    if args.plot:
        write_atomic(args.plot, draw(points, chosen))
    if args.out:
        state = interpolate(*states, chosen.alpha)
        if args.out.suffix == ".safetensors":
            from safetensors.torch import save

            write_atomic(args.out, save({name: tensor.contiguous() for name, tensor in state.items()}))
        else:
            buffer = io.BytesIO()
            torch.save({"name": f"wiseft alpha {chosen.alpha:g}", "state_dict": state}, buffer)
            write_atomic(args.out, buffer.getvalue())
    for path in (args.json, args.plot, args.out):
        if path:
            print(f"-> {path}")


def draw(points, chosen) -> bytes:
    """PNG: each set's score along the way, the chosen point marked."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    alphas = [point.alpha for point in points]
    for name in points[0].scores:
        axes.plot(alphas, [100 * point.scores[name] for point in points], "o-", markersize=4, label=name)
    axes.axvline(chosen.alpha, color="#888", linestyle=":", label=f"chosen: {chosen.alpha:g}")
    axes.set_xlabel("alpha: 0 the start model, 1 the tuned one")
    axes.set_ylabel("accuracy or mean R@1,5,10, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
