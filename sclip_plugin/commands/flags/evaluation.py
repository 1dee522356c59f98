"""The evaluation sets that a command line asks for: its flags, their checks, and evaluating a loaded model on them."""

from collections import Counter

from sclip_plugin.errors import UsageError

CLASSIFICATION_TASK, RETRIEVAL_TASK = "zeroshot_classification", "zeroshot_retrieval"
PRECISIONS = ("fp32", "amp", "amp_bf16", "bf16", "fp16")


def add_set_arguments(parser) -> None:
    """--zeroshot, --retrieval, and how they are evaluated."""
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


def requested_sets(args) -> list[tuple[str, str, str]]:
    """(task, name, folder) of each set.

    Raises:
        UsageError: no set, one that is not NAME=DIR, two of one name, numbers out of range.
    """
    sets = [(CLASSIFICATION_TASK, *_named(text, "--zeroshot")) for text in args.zeroshot]
    sets += [(RETRIEVAL_TASK, *_named(text, "--retrieval")) for text in args.retrieval]
    if not sets:
        raise UsageError("nothing to evaluate: pass --zeroshot NAME=DIR or --retrieval NAME=DIR")
    for (task, name), number in Counter((task, name) for task, name, _ in sets).items():
        if number > 1:
            flag = "--zeroshot" if task == CLASSIFICATION_TASK else "--retrieval"
            raise UsageError(f"{flag} {name} is given twice")
    if args.batch_size < 1 or args.workers < 0:
        raise UsageError("--batch-size must be at least 1 and --workers at least 0")
    return sets


def _named(text: str, flag: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise UsageError(f"{flag} must be NAME=DIR, got {text!r}")
    return name, folder


def check_sets(sets) -> None:
    """Look at the files of all sets, before a model loads.

    Raises:
        DataError: a set that is incomplete or of the other kind.
    """
    from sclip_plugin.evaluation.sets import CLASSIFICATION, RETRIEVAL, open_set

    for task, _, folder in sets:
        open_set(folder, CLASSIFICATION if task == CLASSIFICATION_TASK else RETRIEVAL)


def device_of(args) -> str:
    """--device, or cuda where there is one."""
    import torch

    return args.device or ("cuda" if torch.cuda.is_available() else "cpu")


def evaluate_model(loaded, sets, args, device: str) -> list[dict]:
    """One record per set: dataset, task, metrics, counts, ranks, and intervals where --bootstrap asks for them.

    Args:
        loaded: what `load_model` gives. sets: (task, name, folder). args: batch_size, workers, precision, bootstrap.
    """
    from sclip_plugin.evaluation.bootstrap import intervals
    from sclip_plugin.evaluation.retrieval import evaluate_retrieval
    from sclip_plugin.evaluation.zeroshot import evaluate_zeroshot

    options = {"device": device, "batch_size": args.batch_size, "workers": args.workers, "precision": args.precision}
    records = []
    for task, name, folder in sets:
        evaluate = evaluate_zeroshot if task == CLASSIFICATION_TASK else evaluate_retrieval
        counts, ranks = Counter(), {}
        metrics = evaluate(*loaded, folder, counts=counts, ranks=ranks, **options)
        record = {"dataset": name, "task": task, "metrics": metrics, "counts": dict(counts), "ranks": ranks}
        if args.bootstrap and ranks and all(value == value for value in metrics.values()):
            record["bootstrap"] = args.bootstrap
            record["intervals"] = intervals(ranks, args.bootstrap)
        records.append(record)
    return records
