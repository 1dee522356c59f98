"""Zero-shot classification and retrieval of a checkpoint, on sets in CLIP_benchmark's layout.

Example:
    sclip eval --model ViT-B-32 --pretrained logs/RUN/checkpoints/epoch_25.pt \\
        --zeroshot aid=shards/aid --retrieval val=shards/val

`--pretrained` is a training checkpoint, a weights file, or one of open_clip's tags; without it, `--model local-dir:DIR`
takes the weights in DIR. Given several times, each is evaluated. Prints a table in percent; `--json` writes the
measures under CLIP_benchmark's names; `--bootstrap 1000` adds 95% intervals: how far they would move with other images.
"""

import io
import json
from collections import Counter
from pathlib import Path

from sclip_plugin.atomic import write_atomic
from sclip_plugin.commands.flags.evaluation import (
    CLASSIFICATION_TASK,
    RETRIEVAL_TASK,
    add_set_arguments,
    check_sets,
    device_of,
    evaluate_model,
    requested_sets,
)
from sclip_plugin.errors import UsageError
from sclip_plugin.evaluation.models import check_model, load_model


def add_arguments(parser) -> None:
    """Arguments of `sclip eval`."""
    parser.add_argument("--model", required=True, help="open_clip model name, or local-dir:DIR")
    parser.add_argument("--pretrained", action="append", help="checkpoint file or pretrained tag; repeatable")
    add_set_arguments(parser)
    parser.add_argument("--bootstrap", type=int, metavar="N", help="95%% intervals from N resamplings of the images")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the measures to this file")
    parser.add_argument(
        "--ranks", type=Path, metavar="OUT.npz", help="write the rank of the first right answer to each query"
    )


def run(args) -> int:
    """Evaluate, print, write. Returns 0."""
    sets = requested_sets(args)
    _check(args)
    check_sets(sets)
    args.pretrained = args.pretrained or [None]
    records, ranks = [], {}
    for pretrained in args.pretrained:
        found = evaluate_sets(args, pretrained, sets)
        title = f"{pretrained}\n" if len(args.pretrained) > 1 else ""
        print(f"{title}{table(found)}" + ("\n" if title else ""), flush=True)
        for record in found:
            place = f"{pretrained}/" if title else ""
            ranks |= {f"{place}{record['dataset']}/{name}": part for name, part in record.pop("ranks").items()}
            records.append({"pretrained": pretrained, **record} if title else record)
    _write(args, records, ranks)
    return 0


def _write(args, records: list[dict], ranks: dict) -> None:
    if args.ranks:
        import numpy as np

        buffer = io.BytesIO()
        np.savez_compressed(buffer, **ranks)
        write_atomic(args.ranks, buffer.getvalue())
    if args.json:
        one = args.pretrained[0] if len(args.pretrained) == 1 else args.pretrained
        report = {"model": args.model, "pretrained": one, "precision": args.precision, "results": records}
        write_atomic(args.json, json.dumps(report, indent=2) + "\n")


def _check(args) -> None:
    if args.bootstrap is not None and args.bootstrap < 2:
        raise UsageError(f"--bootstrap must be at least 2, got {args.bootstrap}")
    if args.ranks and args.ranks.suffix != ".npz":
        raise UsageError(f"--ranks {args.ranks}: the name must end in .npz")
    twice = [name for name, number in Counter(args.pretrained or []).items() if number > 1]
    if twice:
        raise UsageError(f"--pretrained {twice[0]} is given twice")
    check_model(args.model, args.pretrained)


def evaluate_sets(args, pretrained: str | None, sets) -> list[dict]:
    """`evaluate_model` of a checkpoint."""
    device = device_of(args)
    loaded = load_model(args.model, pretrained, device, args.precision)
    return evaluate_model(loaded, sets, args, device)


def _short(metric: str) -> str:
    """`image_retrieval_recall@1` as `image R@1`: a row must fit a terminal."""
    return metric.replace("_retrieval_recall@", " R@")


def table(results: list[dict]) -> str:
    """The records as text, percent, one block for each task."""
    blocks = []
    for task in (CLASSIFICATION_TASK, RETRIEVAL_TASK):
        rows = [record for record in results if record["task"] == task]
        if rows:
            names = list(rows[0]["metrics"])
            spans = any("intervals" in record for record in rows)
            titles = [f"{_short(name):>{9 if spans else 0}}" for name in names]
            width = max(len(task), *(len(record["dataset"]) for record in rows))
            lines = ["  ".join([f"{task:<{width}}", f"{'images':>7}", *titles])]
            for record in rows:
                cells = [f"{100 * record['metrics'][name]:>{len(title)}.1f}" for name, title in zip(names, titles)]
                lines.append("  ".join([f"{record['dataset']:<{width}}", f"{record['counts']['images']:>7}", *cells]))
                if "intervals" in record:
                    ends = [[f"{100 * end:.1f}" for end in record["intervals"][name]] for name in names]
                    cells = [f"{'–'.join(pair):>{len(title)}}" for pair, title in zip(ends, titles)]
                    lines.append("  ".join([f"{'  95% interval':<{width}}", " " * 7, *cells]))
            blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
