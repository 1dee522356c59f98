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
import logging
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from sclip_plugin.atomic import write_atomic
from sclip_plugin.errors import DataError, UsageError

CLASSIFICATION_TASK, RETRIEVAL_TASK = "zeroshot_classification", "zeroshot_retrieval"
WEIGHTS = ("*.safetensors", "*.bin", "*.pth")  # what open_clip finds in a local-dir
PRECISIONS = ("fp32", "amp", "amp_bf16", "bf16", "fp16")


def add_arguments(parser) -> None:
    """Arguments of `sclip eval`."""
    parser.add_argument("--model", required=True, help="open_clip model name, or local-dir:DIR")
    parser.add_argument("--pretrained", action="append", help="checkpoint file or pretrained tag; repeatable")
    parser.add_argument(
        "--zeroshot", action="append", default=[], metavar="NAME=DIR", help="classification set; repeatable"
    )
    parser.add_argument(
        "--retrieval", action="append", default=[], metavar="NAME=DIR", help="retrieval set; repeatable"
    )
    parser.add_argument("--batch-size", type=int, default=64, help="images or texts in a forward pass (default 64)")
    parser.add_argument("--workers", type=int, default=0, help="processes that decode images (default 0: this one)")
    parser.add_argument("--device", help="default: cuda where there is one, else cpu")
    parser.add_argument("--precision", default="fp32", choices=PRECISIONS, help="as open_clip's (default fp32)")
    parser.add_argument("--bootstrap", type=int, metavar="N", help="95%% intervals from N resamplings of the images")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the measures to this file")
    parser.add_argument(
        "--ranks", type=Path, metavar="OUT.npz", help="write the rank of the first right answer to each query"
    )


def run(args) -> int:
    """Evaluate, print, write. Returns 0."""
    sets = [(CLASSIFICATION_TASK, *_named(text, "--zeroshot")) for text in args.zeroshot]
    sets += [(RETRIEVAL_TASK, *_named(text, "--retrieval")) for text in args.retrieval]
    _check(args, sets)
    from sclip_plugin.evaluation.readers import CLASSIFICATION, RETRIEVAL, open_set

    for task, _, folder in sets:  # all of them, before a model loads
        open_set(folder, CLASSIFICATION if task == CLASSIFICATION_TASK else RETRIEVAL)
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


def _named(text: str, flag: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise UsageError(f"{flag} must be NAME=DIR, got {text!r}")
    return name, folder


def _check(args, sets) -> None:
    if not sets:
        raise UsageError("nothing to evaluate: pass --zeroshot NAME=DIR or --retrieval NAME=DIR")
    if args.batch_size < 1 or args.workers < 0:
        raise UsageError("--batch-size must be at least 1 and --workers at least 0")
    if args.bootstrap is not None and args.bootstrap < 2:
        raise UsageError(f"--bootstrap must be at least 2, got {args.bootstrap}")
    if args.ranks and args.ranks.suffix != ".npz":
        raise UsageError(f"--ranks {args.ranks}: the name must end in .npz")
    given = [f"--{task.removeprefix('zeroshot_')} {name}" for task, name, _ in sets]
    given += [f"--pretrained {name}" for name in args.pretrained or []]
    twice = [words for words, number in Counter(given).items() if number > 1]
    if twice:
        raise UsageError(f"{twice[0].replace('classification', 'zeroshot')} is given twice")
    check_model(args.model, args.pretrained)


def check_model(model: str, pretrained) -> None:
    """Refuse, before anything loads, a model without weights.

    Raises:
        UsageError: a name that needs `pretrained`. DataError: a local-dir that lacks its files.
    """
    if not model.startswith("local-dir:"):
        if not pretrained and not model.startswith("hf-hub:"):
            raise UsageError(f"--pretrained is missing: --model {model} alone has random weights")
        return
    folder = Path(model.removeprefix("local-dir:"))
    if not (folder / "open_clip_config.json").is_file():
        raise DataError(f"--model {model}: no open_clip_config.json there")
    if not pretrained and not any(any(folder.glob(pattern)) for pattern in WEIGHTS):
        raise DataError(f"--model {model}: no weights there; pass --pretrained")


@contextmanager
def _without_warnings(wanted: bool):
    logging.disable(logging.WARNING if wanted else logging.NOTSET)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def load_model(name: str, pretrained: str | None, device, precision: str):
    """(model, validation transform, tokenizer), in eval mode.

    open_clip ignores `pretrained` for names with a scheme such as `local-dir:`; here it counts for them too.

    Raises:
        DataError: unknown model, or a checkpoint that is missing or does not fit the model.
    """
    import open_clip

    separate = ":" in name and pretrained is not None
    try:
        with _without_warnings(separate):  # of random weights, which are replaced at once
            model, _, preprocess = open_clip.create_model_and_transforms(
                name, None if separate else pretrained, load_weights=not separate, precision=precision, device=device
            )
            if separate:
                open_clip.load_checkpoint(model, pretrained)
        return model.eval(), preprocess, open_clip.get_tokenizer(name)
    except (RuntimeError, KeyError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"--model {name} --pretrained {pretrained}: {reason}") from None


def evaluate_sets(args, pretrained: str | None, sets) -> list[dict]:
    """One record per set: dataset, task, metrics, counts, ranks, and intervals where --bootstrap asks for them."""
    import torch

    from sclip_plugin.evaluation.bootstrap import intervals
    from sclip_plugin.evaluation.retrieval import evaluate_retrieval
    from sclip_plugin.evaluation.zeroshot import evaluate_zeroshot

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    model, preprocess, tokenizer = load_model(args.model, pretrained, device, args.precision)
    options = {"device": device, "batch_size": args.batch_size, "workers": args.workers, "precision": args.precision}
    records = []
    for task, name, folder in sets:
        evaluate = evaluate_zeroshot if task == CLASSIFICATION_TASK else evaluate_retrieval
        counts, ranks = Counter(), {}
        metrics = evaluate(model, preprocess, tokenizer, folder, counts=counts, ranks=ranks, **options)
        record = {"dataset": name, "task": task, "metrics": metrics, "counts": dict(counts), "ranks": ranks}
        if args.bootstrap and ranks and all(value == value for value in metrics.values()):
            record["bootstrap"] = args.bootstrap
            record["intervals"] = intervals(ranks, args.bootstrap)
        records.append(record)
    return records


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
