"""Go from shards to a model that can be handed on: check-up, keywords, training, choice by validation, export.

Example:
    sclip run shards --model ViT-B-32-quickgelu --pretrained openai --out first
    sclip run shards --model ViT-B-32-quickgelu --pretrained openai --val scenes=sets/scenes --test test/val --dry-run

SHARDS is what `sclip convert` writes: paired/, unpaired/ and val/. The command runs, and prints as it goes: `sclip
keywords` (unless --keywords names a file), `sclip checkup`, open_clip's training without and with the unpaired images
(the arms), `sclip eval` on the validation sets after up to five epochs of each, `sclip wiseft` between the start model
and the best of these, `sclip export`, and `sclip eval` once more, now on the test sets too. Arm, epoch and the point
between start and tuned model are chosen on the validation sets (val/ and those of --val); the test sets are looked at
once, after every choice. It ends with a table, a report and the exported model in OUT/model.

Batch size, learning rate, warm-up and epochs fit the number of pairs, and the GPUs that are there are used, as in the
commands that `sclip convert` prints. A run that was interrupted goes on from its last saved epoch when the same command
is given again. For several seeds, other arms and other flags there is `sclip study`.
"""

import argparse
from pathlib import Path
from typing import Final

from sclip_plugin.commands.flags.paths import named_path
from sclip_plugin.commands.run.arms import ARMS
from sclip_plugin.evaluation.names import PRECISIONS

OUT: Final = Path("sclip-run")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sclip run`."""
    add = parser.add_argument
    add("shards", metavar="SHARDS", type=named_path, help="folder with paired/, unpaired/ and val/ (sclip convert)")
    add("--model", required=True, help="the start model: open_clip's name of it, or local-dir:DIR")
    add("--pretrained", help="its weights: checkpoint file or pretrained tag (default: those of a local-dir)")
    add("--out", type=named_path, default=OUT, metavar="DIR", help="folder for everything (default: %(default)s)")
    add("--keywords", type=named_path, metavar="FILE", help="your keyword file (default: extracted from the captions)")
    add(
        "--arms",
        metavar="ARM,ARM",
        help=f"what is trained, of {', '.join(ARMS)} (default: supervised,trusted, and trusted-captions where the "
        "check-up doubts the keywords)",
    )
    sets = "sets in CLIP_benchmark's layout, for retrieval or classification; DIR names itself"
    add("--val", nargs="+", action="extend", default=[], metavar="NAME=DIR", help=f"to choose by beside val/: {sets}")
    add("--test", nargs="+", action="extend", default=[], metavar="NAME=DIR", help=f"for the final table only: {sets}")
    add("--by", action="append", default=[], metavar="NAME", help="choose by this validation set (default: by all)")
    add("--batch-size", type=int, metavar="B", help="pairs per GPU, beside as many unpaired images (default: 64)")
    add("--epochs", type=int, metavar="N", help="passes over the pairs (default: fits their number)")
    add("--lr", type=float, help="learning rate (default: the paper's 5e-5, less for small batches)")
    add("--seed", type=int, default=0, metavar="N", help="of training (default: %(default)s)")
    add("--device", help="where everything runs: cpu, or cuda for one GPU (default: all GPUs there are, else cpu)")
    add("--precision", choices=PRECISIONS, help="as open_clip's (default: amp, on a CPU fp32)")
    add("--language", default="en", metavar="CODE", help="of the captions, for the stop-words (default: en)")
    add("--license", metavar="ID", help="the licence that the model card names: mit, cc-by-4.0, …")
    add("--dry-run", action="store_true", help="check everything, and only print the commands")


def run(args: argparse.Namespace) -> int:
    """Check, then run what is not done yet, or only print it. Returns 0."""
    from sclip_plugin.commands.run.request import request_of
    from sclip_plugin.commands.run.sequence import carry_out

    carry_out(request_of(args), dry=args.dry_run)
    return 0
