"""Go the whole way on an embedded data set: convert, keywords, train, evaluate; it ends with a table and a report.

Example:
    sclip demo --out build/demo
    sclip demo --bench icons --out build/demo-icons

4,021 emoji by eight designers, of which a tenth keep their captions, and a small CLIP pretrained on other drawings.
This is `sclip study demo`: fine-tuning without and with the emoji that have no captions, as the paper does it and by
the trusted recipe, with the same pairs, learning rate and number of steps, compared on emoji that were held out and on
two designers whom no arm has seen. Every command that it runs is printed, and it ends with a picture of what unpaired
emoji are taken for. A CPU is enough. A demo that was interrupted keeps what is finished when it is run again with the
same arguments.

`--bench icons` takes 2,943 icons of 25 themes instead, where nearly every icon is a thing of its own: there the images
without captions have little to offer.
"""

import argparse
import os
import shlex
from pathlib import Path

from sclip_plugin.commands.flags.paths import named_path
from sclip_plugin.errors import UsageError

STUDY = "demo"
BENCHES = ("emoji", "icons")  # studies with the data of `embedded.BENCHES`
PAIRS_SHOWN = "128"  # pairs that the panel's images draw from (ours)
MOST = {"steps": 1_000_000, "seeds": 1000, "jobs": 1000}  # ours


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sclip demo`."""
    parser.add_argument(
        "--out",
        type=named_path,
        default=Path("sclip-demo"),
        metavar="DIR",
        help="folder for everything (default: sclip-demo)",
    )
    parser.add_argument("--bench", choices=BENCHES, default=BENCHES[0], help=f"the data (default: {BENCHES[0]})")
    parser.add_argument("--steps", type=int, help="training steps, rounded up to epochs (default: the study's, 150)")
    parser.add_argument("--seeds", type=int, help="runs of each kind (default: the study's, 2)")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="runs at a time (default: 2)")
    parser.add_argument(
        "--unpack",
        type=named_path,
        metavar="DIR",
        help="only write the data and the start model to DIR/emoji (or DIR/icons) and DIR/start",
    )


def run(args: argparse.Namespace) -> int:
    """Run the study, or only unpack its data. Returns 0, or 1 where a run failed."""
    if args.unpack:
        from sclip_plugin.commands.demo import embedded

        embedded.unpack_bench(args.bench, args.unpack)
        return 0
    for flag in ("steps", "seeds", "jobs"):
        if getattr(args, flag) is not None and getattr(args, flag) < 1:
            raise UsageError(f"--{flag} must be at least 1, got {getattr(args, flag)}")
        if getattr(args, flag) is not None and getattr(args, flag) > MOST[flag]:
            raise UsageError(f"--{flag} must be at most {MOST[flag]}, got {getattr(args, flag)}")
    from sclip_plugin.commands.study import run_study, spec
    from sclip_plugin.commands.study.launchers.local import Local

    seeds = list(range(args.seeds)) if args.seeds else None
    study = spec.load(spec.locate(STUDY), args.out, base=args.bench, seeds=seeds, steps=args.steps)
    status = run_study(study, args.out, launcher=Local(args.jobs))
    _draw_panel(args.out, study.seeds[0])
    return status


def _draw_panel(out: Path, seed: int) -> None:
    """Draw what the S-CLIP run of a seed makes of some unpaired images, by `sclip inspect`; not where it failed."""
    from sclip_plugin.commands import inspect

    found = (out / "runs" / f"sclip-{seed}" / "checkpoints").glob("epoch_*.pt")
    checkpoint = max(found, key=lambda path: path.stat().st_mtime, default=None)
    if checkpoint is None:
        return
    command = ["--model", f"local-dir:{out / 'start'}", "--pretrained", str(checkpoint)]
    command += ["--train-data", str(out / "shards" / "paired"), "--unpaired-data", str(out / "shards" / "unpaired")]
    command += ["--keywords", str(out / "keywords.txt"), "--out", str(out / "panel.png"), "--pairs", PAIRS_SHOWN]
    print(f"\n$ sclip inspect {shlex.join(command)}", flush=True)
    parser = argparse.ArgumentParser()
    inspect.add_arguments(parser)
    inspect.run(parser.parse_args(command))
