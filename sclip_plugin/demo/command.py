"""The whole way on an embedded data set: convert, keywords, train, evaluate; ends with a table and a picture.

Example:
    sclip demo --out build/demo

2,943 icons of 25 themes, of which a tenth keep their captions, and a small CLIP pretrained on other icons. The demo
runs the commands a user would, printing each: the start model, supervised fine-tuning on the pairs and S-CLIP, with
the same pairs, learning rate and number of steps, are compared on held-out icons. CPU is enough. Interrupted and run
again with the same arguments, it keeps what is finished.
"""

import math
from pathlib import Path

from sclip_plugin.errors import UsageError

STEPS, SEEDS = 300, 2


def add_arguments(parser) -> None:
    """Arguments of `sclip demo`."""
    parser.add_argument("--out", type=Path, default=Path("sclip-demo"), metavar="DIR", help="default: sclip-demo")
    parser.add_argument(
        "--steps", type=int, default=STEPS, help=f"training steps, rounded up to epochs (default {STEPS})"
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"runs of each kind (default {SEEDS})")


def run(args) -> int:
    """Run all steps, print the table, draw the picture. Returns 0."""
    if args.steps < 1 or args.seeds < 1:
        raise UsageError("--steps and --seeds must be at least 1")
    from sclip_plugin.demo import embedded, report, steps

    out = args.out
    embedded.unpack(embedded.ICONS, out / "icons")
    embedded.unpack(embedded.START, out / "start")
    for step in steps.data_steps(out):
        steps.run_step(step, out)
    epochs = math.ceil(args.steps / math.ceil(pairs(out) / steps.BATCH))
    steps.run_step(steps.eval_step(out, "start", None), out)
    for seed in range(args.seeds):
        for arm in ("supervised", "sclip"):
            name = steps.run_name(arm, seed)
            steps.run_step(steps.train_step(out, arm, seed, epochs), out)
            steps.run_step(steps.eval_step(out, name, steps.checkpoint_file(out, name, epochs)), out)
    finish(out, report.collect(out, args.seeds), epochs)
    return 0


def pairs(out: Path) -> int:
    """Number of pairs, from the `sizes.json` that `sclip convert` wrote."""
    import json

    return sum(json.loads((out / "shards" / "paired" / "sizes.json").read_text()).values())


def finish(out: Path, results, epochs: int) -> None:
    """Print and write the table; draw the picture."""
    import json

    from sclip_plugin.atomic import write_atomic
    from sclip_plugin.demo import picture, report, steps

    counts = json.loads(steps.result_file(out, "start").read_text())["results"][0]["counts"]
    text = f"{report.markdown(results)}\n\n{report.verdict(results, counts['images'])}\n"
    print(f"\n{text}")
    write_atomic(out / "table.md", text)
    picture.draw(out, results, steps.checkpoint_file(out, steps.run_name("sclip", 0), epochs))
    print(f"table: {out / 'table.md'}\npicture: {out / 'demo.png'}")
