"""The training flags: one group in the host's parser, and the checks that can be made before anything is loaded.

This is the boundary to the command line: what passes `check` can be read by `arguments.TrainingArguments.of`.
"""

import argparse
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.evaluation.models import check_pretrained
from sclip_plugin.evaluation.names import named_folder
from sclip_plugin.evaluation.weights import check_model_folder
from sclip_plugin.loss.settings import KEYWORD_TARGETS, PSEUDO_LABELS, LossSettings
from sclip_plugin.storage.urls import is_url
from sclip_plugin.training import lora, recipe

# Defaults stand here and not in the parser: a flag that was not given is None, so that it can be refused without
# `--loss sclip`. Those of the loss are `LossSettings`'; the template, which adds nothing, is the authors' code's.
DEFAULTS = {
    "keyword_template": "{}",
    "sclip_pseudo_label": LossSettings.pseudo_label,
    "sclip_sinkhorn_iterations": LossSettings.sinkhorn_iterations,
    "sclip_caption_weight": LossSettings.caption_weight,
    "sclip_keyword_weight": LossSettings.keyword_weight,
    "sclip_keyword_targets": LossSettings.keyword_targets,
    "sclip_pair_keyword_weight": LossSettings.pair_keyword_weight,
}
OF_UNPAIRED = (  # what says something of the unpaired images only
    "--unpaired-num-samples",
    "--unpaired-batch-size",
    "--unpaired-upsampling-factors",
    "--sclip-pseudo-label",
    "--sclip-sinkhorn-iterations",
    "--sclip-epsilon",
    "--sclip-caption-weight",
    "--sclip-keyword-weight",
    "--sclip-keyword-targets",
)
OF_KEYWORDS = (  # what says something of the keywords only
    "--keyword-template",
    "--sclip-keyword-weight",
    "--sclip-keyword-targets",
    "--sclip-candidates",
    "--sclip-pair-keyword-weight",
)
FLAGS = (
    "--unpaired-data",
    *OF_UNPAIRED,
    "--keywords",
    "--keyword-template",
    "--sclip-pair-keyword-weight",
    *recipe.FLAGS,
    "--sclip-draft-jpeg",
    "--sclip-fast-resize",
    "--zeroshot-data",
    *lora.FLAGS,
)
LARGEST_SEED = 2**31 - 1  # NumPy's seeds end at twice this, and open_clip adds a rank's number to one
BOTH = ("--zeroshot-data", *lora.FLAGS)  # of these, what the supervised baseline takes too


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the plugin's flags as a group of their own."""
    group = parser.add_argument_group(
        "S-CLIP",
        "semi-supervised fine-tuning (arXiv 2305.14095), by sclip-plugin; all need --loss sclip (the last: or clip)",
    )
    _add_loss(parser, group)
    _add_data(group)
    _add_loss_settings(group)
    recipe.add_arguments(group, _cosine)
    add = group.add_argument
    add(
        "--sclip-draft-jpeg",
        action="store_true",
        default=None,
        help="Decode a JPEG at 1/2, 1/4 or 1/8 size where that leaves twice the crop: faster on large photographs; "
        "pixels differ a little.",
    )
    add(
        "--sclip-fast-resize",
        action="store_true",
        default=None,
        help="Resize crops by PyTorch and not by PIL, in a quarter of the time; some pixels differ by 1 of 255.",
    )
    add(
        "--zeroshot-data",
        action="append",
        metavar="NAME=DIR",
        help="Classification set in CLIP_benchmark's webdataset layout, evaluated as training goes on; repeatable.",
    )
    lora.add_arguments(parser, _count, _positive)


def _add_loss(parser: argparse.ArgumentParser, group: argparse._ArgumentGroup) -> None:
    with suppress(argparse.ArgumentError):  # a patched host has the flag already, for all its plugins
        group.add_argument(
            "--loss",
            choices=["clip", "sclip"],
            help="sclip: learn from --unpaired-data too. clip: the supervised baseline on the same shards. Default: "
            "open_clip's own training, unchanged.",
        )
    parser.set_defaults(loss=None)  # so that `--loss clip` can be told from no --loss at all


def _add_data(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--unpaired-data", metavar="SHARDS", help="Shards of images without captions; like --train-data, or a folder.")
    add(
        "--unpaired-num-samples",
        type=_count,
        metavar="N",
        help="Images in --unpaired-data, where the size of its shards is not known.",
    )
    add("--unpaired-batch-size", type=_count, metavar="U", help="Unpaired images per GPU. Default: --batch-size.")
    add(
        "--unpaired-upsampling-factors",
        metavar="F::F",
        help="Like --train-data-upsampling-factors, for --unpaired-data; with --dataset-resampled.",
    )
    add("--keywords", "--keyword-path", metavar="FILE", help="One keyword or phrase a line (see `sclip keywords`).")
    add("--keyword-template", metavar="TEXT", help="Prompt around each keyword, say 'a photo of {}'. Default: {}.")


def _add_loss_settings(group: argparse._ArgumentGroup) -> None:
    add, standard = group.add_argument, LossSettings()
    add(
        "--sclip-pseudo-label",
        choices=PSEUDO_LABELS,
        help=f"Pseudo-caption rule. Default: {standard.pseudo_label} (paper).",
    )
    add(
        "--sclip-sinkhorn-iterations",
        type=_count_or_zero,
        metavar="N",
        help=f"Updates of the transport plan, for ot-*. Default: {standard.sinkhorn_iterations}.",
    )
    add(
        "--sclip-epsilon",
        type=_positive,
        metavar="E",
        help="Entropy weight for ot-*. Default: learned temperature.",
    )
    for level, weight in (("caption", standard.caption_weight), ("keyword", standard.keyword_weight)):
        text = f"Weight of the {level} level. Default: {weight}."
        add(f"--sclip-{level}-weight", type=_weight, metavar="W", help=text)
    add(
        "--sclip-keyword-targets",
        choices=KEYWORD_TARGETS,
        help=f"Weights over an image's candidate keywords. Default: {standard.keyword_targets}.",
    )
    add(
        "--sclip-pair-keyword-weight",
        type=_weight,
        metavar="W",
        help="Weight with which each paired image learns its own caption's keywords (ours, not the paper's); above 0 "
        f"--unpaired-data may be left out. Default: {standard.pair_keyword_weight:g}.",
    )


Number = TypeVar("Number", int, float)


def _number(kind: Callable[[str], Number], accept: Callable[[Number], bool], words: str) -> Callable[[str], Number]:
    """A parser of numbers for argparse; `words` say which are accepted."""

    def parse(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {words}, got {text!r}") from None
        if not accept(value):
            raise argparse.ArgumentTypeError(f"must be {words}, got {text!r}")
        return value

    return parse


_count = _number(int, lambda value: value > 0, "a whole number > 0")
_count_or_zero = _number(int, lambda value: value >= 0, "a whole number ≥ 0")
_positive = _number(float, lambda value: 0 < value < float("inf"), "a number > 0")
_cosine = _number(float, lambda value: -1 <= value <= 1, "a cosine from -1 to 1")
_weight = _number(float, lambda value: 0 <= value < float("inf"), "a number ≥ 0")


def dest(flag: str) -> str:
    """The attribute that a flag sets."""
    return flag.lstrip("-").replace("-", "_")


def given(args: argparse.Namespace, flag: str) -> bool:
    """True where the flag was on the command line."""
    return getattr(args, dest(flag), None) is not None


def check(args: argparse.Namespace) -> bool:
    """Refuse what cannot work, flags named; then fill in defaults. Called for every `--loss`, and without one.

    Returns:
        Whether the plugin takes part in the run: with `--loss sclip`, and with `--loss clip` as its baseline.

    Raises:
        UsageError: a flag without the `--loss` that it needs, or one that cannot work or would do nothing with it.
        DataError: a keyword or data path that is not there.
    """
    wanted, args.loss = args.loss, args.loss or "clip"
    if wanted != "sclip":
        _refuse_lonely(args, BOTH if wanted == "clip" else ())
    if wanted not in ("sclip", "clip"):
        return False
    _refuse_host_flags(args)
    _refuse_start_model(args)
    lora.complete(args)
    if wanted == "sclip":
        _refuse_useless(args)
        if args.keyword_template is not None and args.keyword_template.count("{}") != 1:
            raise UsageError(f"--keyword-template must hold {{}} once, got {args.keyword_template!r}")
        recipe.complete(args, lambda flag: given(args, flag))
        for name, value in DEFAULTS.items():
            if getattr(args, name) is None:
                setattr(args, name, value)
        args.unpaired_batch_size = (args.unpaired_batch_size or args.batch_size) if args.unpaired_data else 0
    args.zeroshot_data = dict(_named_folder(text) for text in args.zeroshot_data or [])
    args.lock_text_freeze_layer_norm = args.lock_text_freeze_layer_norm or args.lock_text
    return True


def _refuse_lonely(args: argparse.Namespace, accepted: tuple[str, ...]) -> None:
    lonely = [flag for flag in FLAGS if given(args, flag) and flag not in accepted]
    if lonely:
        ours = "--loss sclip or --loss clip" if set(lonely) <= set(BOTH) else "--loss sclip"
        raise UsageError(f"{', '.join(lonely)}: only with {ours}")


def _refuse_host_flags(args: argparse.Namespace) -> None:
    impossible = {
        "--siglip": args.siglip,
        "--horovod": args.horovod,
        "--trace": args.trace,
        "--torchscript": args.torchscript,
        "--distill-model": args.distill_model is not None,
        "--distill-pretrained": args.distill_pretrained is not None,
    }
    loss = f"--loss {args.loss}"
    hint = "" if args.loss == "sclip" else "; without --loss open_clip trains as ever"
    for flag, on in impossible.items():
        if on:
            raise UsageError(f"{flag} does not work with {loss}{hint}")
    if args.use_bn_sync and _on_cpu(args):
        raise UsageError("--use-bn-sync needs CUDA: PyTorch has no synchronised BatchNorm on the CPU")
    if "coca" in args.model.lower():
        raise UsageError(f"--model {args.model}: CoCa models do not work with {loss}{hint}")
    if args.dataset_type in ("csv", "synthetic"):
        raise UsageError(f"--dataset-type {args.dataset_type} does not work with {loss}: it reads tar shards{hint}")
    for flag in ("--train-data", "--unpaired-data") if args.loss == "sclip" else ("--train-data",):
        value = getattr(args, dest(flag))
        if not value and flag == "--unpaired-data" and args.sclip_pair_keyword_weight:
            continue  # the control without unpaired images
        if not value:
            raise UsageError(f"{loss} needs {flag}")
        if os.path.splitext(value)[1].lower() in (".csv", ".tsv"):
            raise UsageError(f"{flag} {value}: csv data does not work with {loss}; `sclip convert` makes shards")
    if given(args, "--train-data-upsampling-factors") and not args.dataset_resampled:
        raise UsageError("--train-data-upsampling-factors needs --dataset-resampled")


def _refuse_start_model(args: argparse.Namespace) -> None:
    """Look at the files of the start model, and at the seed: open_clip checks neither."""
    if not 0 <= args.seed <= LARGEST_SEED:
        raise UsageError(f"--seed must be from 0 to {LARGEST_SEED}, got {args.seed}")
    if args.model.startswith("local-dir:"):
        check_model_folder(Path(args.model.removeprefix("local-dir:")), "--model")
        check_pretrained(args.model, None, "--model")  # with a folder, open_clip ignores --pretrained
    elif args.pretrained and ":" not in args.model:
        check_pretrained(args.model, args.pretrained, "--pretrained")


def _on_cpu(args: argparse.Namespace) -> bool:
    """True where the host will train on the CPU; it falls back to it where CUDA is not available."""
    import torch

    return args.device.startswith("cpu") or (args.device.startswith("cuda") and not torch.cuda.is_available())


def _refuse_useless(args: argparse.Namespace) -> None:
    choice = args.sclip_pseudo_label or LossSettings.pseudo_label
    for flag in ("--sclip-epsilon", "--sclip-sinkhorn-iterations"):
        if given(args, flag) and not LossSettings(pseudo_label=choice).uses_transport:
            raise UsageError(f"{flag} does nothing with --sclip-pseudo-label {choice}: only ot-* use it")
    for flag in OF_KEYWORDS:
        if given(args, flag) and not args.keywords:
            raise UsageError(f"{flag} does nothing without --keywords")
    for flag in OF_UNPAIRED:
        if given(args, flag) and not args.unpaired_data:
            raise UsageError(f"{flag} does nothing without --unpaired-data")
    if given(args, "--unpaired-upsampling-factors") and not args.dataset_resampled:
        raise UsageError("--unpaired-upsampling-factors needs --dataset-resampled")


def _named_folder(text: str) -> tuple[str, str]:
    name, folder = named_folder(text, "--zeroshot-data")
    if not is_url(folder) and not os.path.isdir(folder):
        raise DataError(f"--zeroshot-data {name}: no such folder: {folder}")
    return name, folder
