"""What the command line of `sclip run` asks for, checked before any model loads."""

import argparse
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sclip_plugin.commands.export import check_license
from sclip_plugin.commands.flags.numbers import check_positive
from sclip_plugin.commands.run.arms import ARMS, KEYWORDS_OF
from sclip_plugin.data.shard_list import count_samples, expand
from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.evaluation.evaluate import NamedSet, check_sets
from sclip_plugin.evaluation.models import check_model, check_names, check_pretrained
from sclip_plugin.evaluation.names import named_folder
from sclip_plugin.keywords import Vocabulary
from sclip_plugin.shards import layout
from sclip_plugin.shards.keywords.stop_words import languages
from sclip_plugin.shards.next_steps import Schedule, gpu_count, loader_workers
from sclip_plugin.training.options import LARGEST_SEED

MOST: Final = 1_000_000  # ours, of a batch and of epochs; far above what serves a purpose


@dataclass(frozen=True)
class Request:
    """What the user asks of `sclip run`.

    Attributes:
        shards: folder with paired/ and unpaired/.
        out: folder for everything.
        model: open_clip's name of the start model, or `local-dir:DIR`.
        pretrained: its weights, or None for its own.
        keywords: the user's keyword file, or None: keywords are extracted.
        arms: names of `ARMS`, or None: the check-up decides.
        validation: the sets that everything is chosen by.
        test: the sets of the final table, which nothing is chosen by.
        by: names of the validation sets whose mean decides.
        schedule: batch size, learning rate, warm-up and epochs of every arm.
        lr: the learning rate where the user says so, None for the schedule's.
        processes: that train, one for each GPU.
        workers: processes that read data, for each that trains.
        device: `cpu` or `cuda`, or another name of one of torch's devices.
        precision: one of `names.PRECISIONS`.
        seed: of training.
        language: of the captions, for the stop-words.
        license: what the model card's header says, None for nothing.
    """

    shards: Path
    out: Path
    model: str
    pretrained: str | None
    keywords: Path | None
    arms: tuple[str, ...] | None
    validation: tuple[NamedSet, ...]
    test: tuple[NamedSet, ...]
    by: tuple[str, ...]
    schedule: Schedule
    lr: float | None
    processes: int
    workers: int
    device: str
    precision: str
    seed: int
    language: str
    license: str | None

    @property
    def paired(self) -> Path:
        """The folder of the pairs' shards."""
        return self.shards / layout.PAIRED

    @property
    def unpaired(self) -> Path:
        """The folder of the unpaired images' shards."""
        return self.shards / layout.UNPAIRED

    @property
    def deciding(self) -> str:
        """What everything is chosen by, in words."""
        return self.by[0] if len(self.by) == 1 else f"the mean over {', '.join(self.by)}"

    @property
    def needs_keywords(self) -> bool:
        """Whether an arm may need a keyword file."""
        return self.arms is None or bool(set(self.arms) & set(KEYWORDS_OF))


def request_of(args: argparse.Namespace) -> Request:
    """The parsed flags of `sclip run` as values.

    Raises:
        UsageError: a flag has a value that cannot work, or does nothing.
        DataError: shards, sets, keywords or model are not there, or cannot be used.
    """
    _check_flags(args)
    for part in (layout.PAIRED, layout.UNPAIRED):
        if not (args.shards / part).is_dir():
            raise DataError(f"SHARDS {args.shards}: no folder {part}/ there; sclip convert writes it")
    arms = _arms(args.arms, args.keywords)
    if args.keywords is not None:
        Vocabulary.load(args.keywords)
    validation, test = _validation(args), _sets(args.test, "--test")
    _refuse_same(validation, test)
    by = tuple(dict.fromkeys(args.by)) or tuple(one.name for one in validation)
    for name in by:
        if name not in [one.name for one in validation]:
            listed = ", ".join(one.name for one in validation)
            raise UsageError(f"--by {name}: not one of the validation sets {listed}")
    check_sets((*validation, *test))
    _check_start_model(args.model, args.pretrained)
    _check_device(args.device)
    gpus = 0 if args.device else gpu_count()
    pairs = _pairs(args.shards)
    processes = min(max(1, gpus), pairs)
    device = args.device or ("cuda" if gpus else "cpu")
    return Request(
        shards=args.shards,
        out=args.out,
        model=args.model,
        pretrained=args.pretrained,
        keywords=args.keywords,
        arms=arms,
        validation=validation,
        test=test,
        by=by,
        schedule=_schedule(args, pairs, processes),
        lr=args.lr,
        processes=processes,
        workers=loader_workers(processes, gpus or int(not device.startswith("cpu"))),
        device=device,
        precision=args.precision or ("fp32" if device.startswith("cpu") else "amp"),
        seed=args.seed,
        language=args.language,
        license=args.license,
    )


def _check_flags(args: argparse.Namespace) -> None:
    for flag in ("batch_size", "epochs"):
        value = getattr(args, flag)
        check_positive(f"--{flag.replace('_', '-')}", value)
        if value is not None and value > MOST:
            raise UsageError(f"--{flag.replace('_', '-')} must be at most {MOST}, got {value}")
    if args.lr is not None and not 0 < args.lr < math.inf:
        raise UsageError(f"--lr must be a number above 0, got {args.lr}")
    if not 0 <= args.seed <= LARGEST_SEED:
        raise UsageError(f"--seed must be from 0 to {LARGEST_SEED}, got {args.seed}")
    if args.language not in languages():
        raise UsageError(f"--language: no stop-word list for {args.language!r}; there are: {', '.join(languages())}")
    check_license(args.license)
    if args.out.exists() and not args.out.is_dir():
        raise UsageError(f"--out {args.out}: is a file")


def _check_start_model(model: str, pretrained: str | None) -> None:
    if ":" in model and pretrained:
        raise UsageError(f"--pretrained does nothing with --model {model}: training begins with the weights there")
    check_model(model, pretrained)
    check_names(model, pretrained)
    check_pretrained(model, pretrained, "--pretrained")


def _check_device(device: str | None) -> None:
    if device is None or device == "cpu":
        return
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise UsageError(f"--device {device}: torch knows no such device") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {device}: torch sees no GPU here")


def _arms(text: str | None, keywords: Path | None) -> tuple[str, ...] | None:
    """The names of the arms, in the order of `ARMS`; None where the user names none."""
    if text is None:
        return None
    wanted = text.split(",")
    for name in wanted:
        if name not in ARMS:
            raise UsageError(f"--arms: no arm {name!r}; there are {', '.join(ARMS)}")
    if keywords is not None and not set(wanted) & set(KEYWORDS_OF):
        raise UsageError(f"--keywords does nothing with --arms {text}, which need none")
    return tuple(name for name in ARMS if name in wanted)


def _validation(args: argparse.Namespace) -> tuple[NamedSet, ...]:
    """val/ of the shards, and what `--val` names.

    Raises:
        DataError: there is neither.
    """
    own = args.shards / layout.VAL
    found = _sets([str(own)] if own.is_dir() else [], "SHARDS") + _sets(args.val, "--val")
    if not found:
        raise DataError(
            f"SHARDS {args.shards}: no val/ there to choose by: convert with --val-ratio, or name a set with --val"
        )
    return found


def _sets(texts: list[str], flag: str) -> tuple[NamedSet, ...]:
    """The sets that a flag names, each of the kind that its folder says."""
    from sclip_plugin.evaluation.sets import set_kind

    named = [named_folder(text, flag) for text in texts]
    return tuple(NamedSet(set_kind(folder), name, folder) for name, folder in named)


def _refuse_same(validation: tuple[NamedSet, ...], test: tuple[NamedSet, ...]) -> None:
    for name, number in Counter(one.name for one in (*validation, *test)).items():
        if number > 1:
            raise UsageError(f"--val, --test: {number} sets are called {name}; name them apart: NAME=DIR")
    known = {Path(one.folder).resolve() for one in validation}
    for one in test:
        if Path(one.folder).resolve() in known:
            raise UsageError(f"--test {one.name}: {one.folder} is a validation set, by which the model is chosen")


def _pairs(shards: Path) -> int:
    """The number of pairs.

    Raises:
        DataError: there are no shards, or nothing is in them.
    """
    expand(str(shards / layout.UNPAIRED), "SHARDS")
    sizes = count_samples(expand(str(shards / layout.PAIRED), "SHARDS"))
    pairs = 0 if sizes is None else int(sizes.sum())
    if not pairs:
        raise DataError(f"SHARDS {shards}: no pairs in {layout.PAIRED}/")
    return pairs


def _schedule(args: argparse.Namespace, pairs: int, processes: int) -> Schedule:
    if args.batch_size is not None and args.batch_size * processes > pairs:
        beside = f" on each of {processes} GPUs" if processes > 1 else ""
        raise UsageError(f"--batch-size {args.batch_size}{beside}: there are only {pairs} pairs")
    return Schedule.of(pairs, processes, args.batch_size, args.epochs)
