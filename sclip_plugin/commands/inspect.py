"""Show what a checkpoint makes of unpaired images: a picture or page of images with their pseudo-captions and keywords.

Example:
    sclip inspect logs/RUN --train-data shards/paired --unpaired-data shards/unpaired \\
        --keywords keywords.txt --out panel.png

RUN, the folder of a training run, stands for the model, its precision and its preprocessing, as the run recorded them,
and for its last checkpoint (or the one that `--pretrained epoch_3.pt` names). `--model` and `--pretrained` name any
other model.

Each image stands beside its heaviest pseudo-captions and its keywords, with their weights, as a training step with
--pairs pairs would give them. `--out` ends in .png or .html.
"""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from sclip_plugin.commands.flags.evaluation import MOST_IMAGES, device_of
from sclip_plugin.commands.flags.paths import named_path
from sclip_plugin.commands.flags.run import ChosenModel, add_run_argument, chosen_model, refuse_other_activation
from sclip_plugin.errors import UsageError
from sclip_plugin.loss.settings import KEYWORD_TARGETS, PSEUDO_LABELS, LossSettings

if TYPE_CHECKING:
    from sclip_plugin.inspection.labels import LabelledImage

DEFAULTS = LossSettings()
MOST_ITERATIONS = 1_000_000  # ours; it has converged long before


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sclip inspect`."""
    add_run_argument(parser)
    parser.add_argument("--pretrained", help="checkpoint file or pretrained tag, or a checkpoint of RUN")
    parser.add_argument("--train-data", required=True, metavar="SHARDS", help="paired shards, as in training")
    parser.add_argument("--unpaired-data", required=True, metavar="SHARDS", help="unpaired shards, as in training")
    parser.add_argument("--keywords", metavar="FILE", help="keyword file, as in training")
    parser.add_argument("--out", type=named_path, required=True, metavar="FILE", help="panel.png or panel.html")
    parser.add_argument("--images", type=int, default=8, metavar="N", help="images to show (default 8)")
    parser.add_argument("--pairs", type=int, default=64, metavar="B", help="pairs, as a batch has (default 64)")
    parser.add_argument("--unpaired", type=int, metavar="U", help="unpaired images in the plan (default: --pairs)")
    parser.add_argument(
        "--sclip-pseudo-label",
        choices=PSEUDO_LABELS,
        default=DEFAULTS.pseudo_label,
        help="pseudo-caption rule, as in training (default: %(default)s)",
    )
    parser.add_argument(
        "--sclip-sinkhorn-iterations",
        type=int,
        default=DEFAULTS.sinkhorn_iterations,
        metavar="N",
        help="iterations of the transport, as in training (default: %(default)s)",
    )
    parser.add_argument(
        "--sclip-epsilon",
        type=float,
        default=DEFAULTS.epsilon,
        metavar="E",
        help="entropy weight of the transport, as in training (default: the model's temperature)",
    )
    parser.add_argument(
        "--sclip-keyword-targets",
        choices=KEYWORD_TARGETS,
        default=DEFAULTS.keyword_targets,
        help="weights over an image's candidate keywords, as in training (default: %(default)s)",
    )
    parser.add_argument(
        "--keyword-template", default="{}", metavar="TEXT", help="prompt around each keyword (default: %(default)s)"
    )
    parser.add_argument("--device", help="where the model runs (default: cuda where there is one, else cpu)")


def run(args: argparse.Namespace) -> int:
    """Read, encode, label, draw. Returns 0."""
    _check(args)
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
    title = f"{checkpoint or chosen.name}: {args.sclip_pseudo_label}, {sizes}"
    _write(args.out, labelled, title, figures)
    return 0


def _checkpoint(chosen: ChosenModel, named: str | None) -> str | None:
    """A file of the run, or what `--pretrained` names; None for the model's own weights."""
    from sclip_plugin.evaluation.models import check_model

    if chosen.run is not None:
        return str(chosen.run.checkpoint(named))
    check_model(chosen.name, named)
    refuse_other_activation(chosen.name, named)
    return named


def _check(args: argparse.Namespace) -> None:
    if args.out.suffix.lower() not in (".png", ".html"):
        raise UsageError(f"--out {args.out}: the name must end in .png or .html")
    for flag in ("images", "pairs", "unpaired"):
        if getattr(args, flag) is not None and getattr(args, flag) < 1:
            raise UsageError(f"--{flag} must be at least 1, got {getattr(args, flag)}")
        if getattr(args, flag) is not None and getattr(args, flag) > MOST_IMAGES:
            raise UsageError(f"--{flag} must be at most {MOST_IMAGES}, got {getattr(args, flag)}")
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
