"""Show what a checkpoint makes of unpaired images: a picture or page of images with their pseudo-captions and keywords.

Example:
    sclip inspect logs/RUN --train-data shards/paired --unpaired-data shards/unpaired \\
        --keywords keywords.txt --out panel.png

RUN, the folder of a training run, stands for the model, its precision and its preprocessing, as the run recorded them,
and for its last checkpoint (or the one that `--pretrained epoch_3.pt` names). `--model` and `--pretrained` name any
other model.

Each image stands beside its heaviest pseudo-captions and its keywords, with their weights, as a training step with
--pairs pairs would give them. Where the start model has labelled the images before training (--sclip-recipe trusted),
RUN holds these labels, and they are shown. `--out` ends in .png or .html.
"""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sclip_plugin.commands.flags.evaluation import MOST_IMAGES, device_of
from sclip_plugin.commands.flags.paths import named_path
from sclip_plugin.commands.flags.run import ChosenModel, add_run_argument, chosen_model, refuse_other_activation
from sclip_plugin.errors import UsageError
from sclip_plugin.loss.settings import KEYWORD_TARGETS, PSEUDO_LABELS, LossSettings
from sclip_plugin.teacher.settings import FILE as LABELS

if TYPE_CHECKING:
    from sclip_plugin.inspection.labels import LabelledImage

    Labelled = tuple[list[LabelledImage], str, dict[str, float]]  # images, title, figures

DEFAULTS = LossSettings()
MOST_ITERATIONS = 1_000_000  # ours; it has converged long before
OF_MODEL: Final = {  # what a model's labels depend on, with the defaults; labels that are kept depend on none of it
    "pretrained": None,
    "pairs": 64,
    "unpaired": None,
    "sclip_pseudo_label": DEFAULTS.pseudo_label,
    "sclip_sinkhorn_iterations": DEFAULTS.sinkhorn_iterations,
    "sclip_epsilon": DEFAULTS.epsilon,
    "sclip_keyword_targets": DEFAULTS.keyword_targets,
    "keyword_template": "{}",
    "device": None,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sclip inspect`."""
    add_run_argument(parser)
    parser.add_argument("--pretrained", help="checkpoint file or pretrained tag, or a checkpoint of RUN")
    parser.add_argument("--train-data", required=True, metavar="SHARDS", help="paired shards, as in training")
    parser.add_argument("--unpaired-data", required=True, metavar="SHARDS", help="unpaired shards, as in training")
    parser.add_argument("--keywords", metavar="FILE", help="keyword file, as in training")
    parser.add_argument("--out", type=named_path, required=True, metavar="FILE", help="panel.png or panel.html")
    parser.add_argument("--images", type=int, default=8, metavar="N", help="images to show (default 8)")
    parser.add_argument("--pairs", type=int, metavar="B", help="pairs, as a batch has (default 64)")
    parser.add_argument("--unpaired", type=int, metavar="U", help="unpaired images in the plan (default: --pairs)")
    parser.add_argument(
        "--sclip-pseudo-label",
        choices=PSEUDO_LABELS,
        help=f"pseudo-caption rule, as in training (default: {DEFAULTS.pseudo_label})",
    )
    parser.add_argument(
        "--sclip-sinkhorn-iterations",
        type=int,
        metavar="N",
        help=f"iterations of the transport, as in training (default: {DEFAULTS.sinkhorn_iterations})",
    )
    parser.add_argument(
        "--sclip-epsilon",
        type=float,
        metavar="E",
        help="entropy weight of the transport, as in training (default: the model's temperature)",
    )
    parser.add_argument(
        "--sclip-keyword-targets",
        choices=KEYWORD_TARGETS,
        help=f"weights over an image's candidate keywords, as in training (default: {DEFAULTS.keyword_targets})",
    )
    parser.add_argument("--keyword-template", metavar="TEXT", help="prompt around each keyword (default: {})")
    parser.add_argument("--device", help="where the model runs (default: cuda where there is one, else cpu)")


def run(args: argparse.Namespace) -> int:
    """Read, encode, label, draw. Returns 0."""
    if args.out.suffix.lower() not in (".png", ".html"):
        raise UsageError(f"--out {args.out}: the name must end in .png or .html")
    if args.run_folder is not None and (args.run_folder / LABELS).is_file():
        labelled, title, figures = _from_start_model(args)
    else:
        _fill_in(args)
        _check(args)
        labelled, title, figures = _from_model(args)
    _write(args.out, labelled, title, figures)
    return 0


def _from_start_model(args: argparse.Namespace) -> "Labelled":
    """What the start model has made of the images, as the run keeps it."""
    from sclip_plugin.data.shard_list import ShardSet, expand
    from sclip_plugin.host.openclip3_records import read_run
    from sclip_plugin.keywords import Vocabulary
    from sclip_plugin.teacher.panel import labelled_images
    from sclip_plugin.teacher.storage import load_labels

    for name in OF_MODEL:
        if getattr(args, name) is not None:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} does nothing here: {args.run_folder / LABELS} holds the start model's labels")
    _check_number("images", args.images)
    record = read_run(args.run_folder)
    vocabulary = Vocabulary.load(args.keywords) if args.keywords else None
    paired = ShardSet.of(expand(args.train_data, "--train-data"))
    unpaired = ShardSet.of(expand(args.unpaired_data, "--unpaired-data"))
    about: dict[str, object] = {"pairs": paired.total, "images": unpaired.total}
    labels = load_labels(args.run_folder / LABELS, about)
    labelled, figures = labelled_images(labels, paired, unpaired, args.images, vocabulary, record.candidates)
    return labelled, f"{args.run_folder}: the start model's labels, {paired.total} pairs", figures


def _from_model(args: argparse.Namespace) -> "Labelled":
    """What a model makes of the images now."""
    from sclip_plugin.data.shard_list import expand
    from sclip_plugin.evaluation.features import Encoder
    from sclip_plugin.evaluation.models import load_model
    from sclip_plugin.inspection.labels import label_images
    from sclip_plugin.inspection.pictures import read_pictures
    from sclip_plugin.keywords import Vocabulary

    chosen = chosen_model(args.run_folder, args.model)
    checkpoint = _checkpoint(chosen, args.pretrained)
    vocabulary = Vocabulary.load(args.keywords) if args.keywords else None
    pairs = read_pictures(expand(args.train_data, "--train-data"), args.pairs, paired=True)
    unpaired = read_pictures(expand(args.unpaired_data, "--unpaired-data"), args.unpaired or args.pairs, paired=False)
    device = device_of(args)
    model, preprocess, tokenizer = load_model(chosen.name, checkpoint, device, chosen.precision, options=chosen.options)
    labelled, figures = label_images(
        Encoder(model, tokenizer, device, chosen.precision),
        preprocess,
        pairs,
        unpaired,
        settings=_settings(args),
        vocabulary=vocabulary,
        keyword_template=args.keyword_template,
        shown=args.images,
    )
    sizes = f"{len(pairs)} pairs, {len(unpaired)} unpaired images"
    return labelled, f"{checkpoint or chosen.name}: {args.sclip_pseudo_label}, {sizes}", figures


def _checkpoint(chosen: ChosenModel, named: str | None) -> str | None:
    """A file of the run, or what `--pretrained` names; None for the model's own weights."""
    from sclip_plugin.evaluation.models import check_model

    if chosen.run is not None:
        return str(chosen.run.checkpoint(named))
    check_model(chosen.name, named)
    refuse_other_activation(chosen.name, named)
    return named


def _fill_in(args: argparse.Namespace) -> None:
    """The defaults, whose flags are None as long as they are not given."""
    for name, value in OF_MODEL.items():
        if getattr(args, name) is None:
            setattr(args, name, value)


def _check_number(flag: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise UsageError(f"--{flag} must be at least 1, got {value}")
    if value is not None and value > MOST_IMAGES:
        raise UsageError(f"--{flag} must be at most {MOST_IMAGES}, got {value}")


def _check(args: argparse.Namespace) -> None:
    for flag in ("images", "pairs", "unpaired"):
        _check_number(flag, getattr(args, flag))
    if args.sclip_sinkhorn_iterations < 0:
        raise UsageError(f"--sclip-sinkhorn-iterations must be at least 0, got {args.sclip_sinkhorn_iterations}")
    if args.sclip_sinkhorn_iterations > MOST_ITERATIONS:
        raise UsageError(
            f"--sclip-sinkhorn-iterations must be at most {MOST_ITERATIONS}, got {args.sclip_sinkhorn_iterations}"
        )
    if args.sclip_epsilon is not None and not 0 < args.sclip_epsilon < math.inf:
        raise UsageError(f"--sclip-epsilon must be above 0 and finite, got {args.sclip_epsilon}")
    rule = args.sclip_pseudo_label
    if args.sclip_epsilon is not None and not LossSettings(pseudo_label=rule).uses_transport:
        raise UsageError(f"--sclip-epsilon does nothing with --sclip-pseudo-label {rule}: only ot-* use it")
    if args.keyword_template.count("{}") != 1:
        raise UsageError(f"--keyword-template must hold {{}} once, got {args.keyword_template!r}")


def _settings(args: argparse.Namespace) -> LossSettings:
    return LossSettings(
        pseudo_label=args.sclip_pseudo_label,
        sinkhorn_iterations=args.sclip_sinkhorn_iterations,
        epsilon=args.sclip_epsilon,
        keyword_targets=args.sclip_keyword_targets,
    )


def _write(out: Path, labelled: "list[LabelledImage]", title: str, figures: dict[str, float]) -> None:
    from sclip_plugin.atomic import write_atomic
    from sclip_plugin.inspection import panel

    if out.suffix.lower() == ".html":
        write_atomic(out, panel.page(labelled, title, figures))
    else:
        import io

        buffer = io.BytesIO()
        panel.draw(labelled, title, figures).savefig(buffer, format="png", dpi=100)
        write_atomic(out, buffer.getvalue())
    for line in panel.sentences(figures):
        print(line)
    print(f"-> {out}")
