"""The flags that go beyond the paper's pseudo-labels, and the recipes that set them together."""

import argparse
from collections.abc import Callable
from typing import Any, Final

from sclip_plugin.errors import UsageError
from sclip_plugin.loss.settings import CANDIDATES, LossSettings
from sclip_plugin.teacher.settings import SUPPORTS, TEACHERS, TRUSTS, TeacherSettings

PAPER: Final[dict[str, Any]] = {
    "sclip_teacher": "student",
    "sclip_support": "batch",
    "sclip_trust": "all",
    "sclip_candidates": "nearest",
    "sclip_unpaired_negatives": True,
}
TRUSTED: Final[dict[str, Any]] = PAPER | {  # chosen on the benches' validation parts (docs/studies.md)
    "sclip_teacher": "start",
    "sclip_support": "pairs",
    "sclip_candidates": "plan",
    "sclip_keyword_weight": 0.25,
    "sclip_pair_keyword_weight": 0.1,
}
RECIPES: Final = {"paper": PAPER, "trusted": TRUSTED}
OF_KEYWORDS: Final = ("sclip_candidates", "sclip_keyword_weight", "sclip_pair_keyword_weight")
FLAGS: Final = (
    "--sclip-recipe",
    "--sclip-teacher",
    "--sclip-support",
    "--sclip-trust",
    "--sclip-trust-threshold",
    "--sclip-candidates",
    "--sclip-unpaired-negatives",
)
OF_BATCH: Final = (  # what says something of labels from the pairs of a batch only
    "--sclip-pseudo-label",
    "--sclip-sinkhorn-iterations",
    "--sclip-epsilon",
)


def add_arguments(group: argparse._ArgumentGroup, cosine: Callable[[str], float]) -> None:
    """Add the flags to the plugin's group.

    Args:
        group: the group.
        cosine: a parser of numbers from -1 to 1.
    """
    add = group.add_argument
    add(
        "--sclip-recipe",
        choices=list(RECIPES),
        help="paper: the published method. trusted (ours): the start model labels the unpaired images once, from all "
        "pairs, and pairs learn their own keywords a little. It sets the flags below and the weights of the keywords; "
        "one that is given wins. Default: paper.",
    )
    add(
        "--sclip-teacher",
        choices=TEACHERS,
        help="Whose features say which pairs an unpaired image is like: the model's as it learns, or the start "
        "model's, once before training (with --sclip-support pairs). Default: student (paper).",
    )
    add(
        "--sclip-support",
        choices=SUPPORTS,
        help="Which pairs an unpaired image is compared with: those of its batch, or all (with --sclip-teacher start). "
        "Default: batch (paper).",
    )
    add(
        "--sclip-trust",
        choices=TRUSTS,
        help="What a pseudo-caption counts, with --sclip-teacher start: fully; fully where the nearest pair is as near "
        "as --sclip-trust-threshold, else nothing; or the probability, measured on the pairs, that it fits. Default: "
        "all (paper).",
    )
    add(
        "--sclip-trust-threshold",
        type=cosine,
        metavar="COS",
        help="With --sclip-trust threshold: the least cosine with the nearest pair.",
    )
    add(
        "--sclip-candidates",
        choices=CANDIDATES,
        help="Where an unpaired image's keywords come from: the nearest caption, or all captions that it draws from. "
        "Default: nearest (paper).",
    )
    add(
        "--sclip-unpaired-negatives",
        action=argparse.BooleanOptionalAction,
        help="Whether unpaired images are negatives of each caption. Default: they are (authors' code).",
    )


def complete(args: argparse.Namespace, given: Callable[[str], bool]) -> None:
    """Refuse what does not go together, then fill in what the recipe says and was not given.

    Args:
        args: the host's arguments, those of the plugin None where they were not given.
        given: whether a flag was on the command line.

    Raises:
        UsageError: flags that do nothing, or that do not go together; names them.
    """
    recipe = RECIPES[args.sclip_recipe or "paper"]
    if recipe is TRUSTED and not args.unpaired_data:
        raise UsageError("--sclip-recipe trusted needs --unpaired-data")
    for flag in FLAGS[1:]:
        if given(flag) and not args.unpaired_data:
            raise UsageError(f"{flag} does nothing without --unpaired-data")
    for name, value in recipe.items():
        lonely = name in OF_KEYWORDS and not args.keywords
        if getattr(args, name) is None and not lonely:
            setattr(args, name, value)
    if args.sclip_candidates == "plan" and given("--sclip-keyword-targets"):
        raise UsageError("--sclip-keyword-targets does nothing with --sclip-candidates plan")
    if (args.sclip_teacher == "start") != (args.sclip_support == "pairs"):
        raise UsageError(
            f"--sclip-teacher {args.sclip_teacher} does not work with --sclip-support {args.sclip_support}: student "
            "goes with batch, start with pairs"
        )
    if args.sclip_teacher == "student":
        if args.sclip_trust != "all":
            raise UsageError(f"--sclip-trust {args.sclip_trust} needs --sclip-teacher start and --sclip-support pairs")
    else:
        _refuse_of_batch(args, given)
    if (args.sclip_trust == "threshold") != given("--sclip-trust-threshold"):
        raise UsageError("--sclip-trust threshold and --sclip-trust-threshold go together")


def _refuse_of_batch(args: argparse.Namespace, given: Callable[[str], bool]) -> None:
    for flag in OF_BATCH:
        if given(flag):
            raise UsageError(f"{flag} does nothing with --sclip-support pairs: it is for labels from a batch")
    if args.dataset_resampled:
        raise UsageError("--dataset-resampled does not work with --sclip-support pairs: a batch may hold a pair twice")


def teacher_settings(args: argparse.Namespace) -> TeacherSettings | None:
    """The start model's part in a run whose arguments are complete; None where it has none."""
    if not args.unpaired_data or args.sclip_teacher != "start":
        return None
    return TeacherSettings(args.sclip_trust, args.sclip_trust_threshold)


def unpaired_negatives(args: argparse.Namespace) -> bool:
    """Whether unpaired images are negatives; the default where there are none."""
    value = args.sclip_unpaired_negatives
    return LossSettings.unpaired_negatives if value is None else bool(value)
