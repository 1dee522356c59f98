"""SClipLoss, forward + backward, on one CPU thread: against stock ClipLoss, the published algorithm, and its floor.

    python benchmarks/loss.py --json loss.json
    python benchmarks/loss.py --size 256 256 200 --repeats 15

"Stock" is `open_clip.loss.ClipLoss` at B, "published" is `published.py` at (B, U, K). The "floor" is the work that no
version can leave out: three products forward and their six backward (captions by paired and by unpaired images,
keywords by unpaired images), the product behind the transport's cost, and 2 × iterations readings of a (U, B) matrix.
It is a low floor: each product finds its factors in the cache, no exponential is taken, and nothing is written.

Legend: B pairs, U unpaired images, K keywords, D width.
"""

import argparse

import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss
from published import published_loss
from timing import clock_for, machine, medians, write_json

from sclip_plugin import SClipLoss

SIZES = [(256, 256, 200), (1024, 1024, 300)]
ITERATIONS = 10


def unit(rows: int, width: int) -> torch.Tensor:
    """(rows, width) random unit vectors, a leaf with gradient; cosines are about 0.5, as those of a trained CLIP."""
    return F.normalize(1 + torch.randn(rows, width), dim=-1).requires_grad_()


def make_inputs(B: int, U: int, K: int, D: int, candidates_each: int = 3) -> dict:
    """Arguments of SClipLoss.forward; each caption holds about `candidates_each` keywords."""
    return {
        "image_features": unit(B, D),
        "text_features": unit(B, D),
        "logit_scale": torch.tensor(1 / 0.07, requires_grad=True),
        "unpaired_features": unit(U, D),
        "keyword_features": unit(K, D),
        "keyword_candidates": torch.rand(B, K) < candidates_each / K,
    }


def step(loss, inputs: dict):
    """A function that runs forward and backward once, from cleared gradients."""

    def run():
        for tensor in inputs.values():
            tensor.grad = None
        loss(**inputs).backward()

    return run


def floor(inputs: dict):
    """A function that does the floor's products and readings and nothing else."""
    images, texts, unpaired, keywords = (
        inputs[name].detach() for name in ("image_features", "text_features", "unpaired_features", "keyword_features")
    )
    pairs = ((images, texts), (unpaired, texts), (unpaired, keywords))

    @torch.no_grad()
    def run():
        for rows, columns in pairs:
            logits = rows @ columns.T
            logits @ columns  # the gradient of the rows
            logits.T @ rows  # and of the columns
        matrix = unpaired @ images.T
        for _ in range(2 * ITERATIONS):
            matrix.sum()

    return run


def measure(B: int, U: int, K: int, D: int, repeats: int, pseudo_label: str) -> dict:
    """Milliseconds of each version and their ratios."""
    inputs = make_inputs(B, U, K, D)
    paired = {name: inputs[name] for name in ("image_features", "text_features", "logit_scale")}
    ours = SClipLoss(pseudo_label=pseudo_label, sinkhorn_iterations=ITERATIONS)
    functions = {"stock": step(ClipLoss(), paired), "ours": step(ours, inputs), "floor": floor(inputs)}
    if pseudo_label == "ot-image":
        torch.testing.assert_close(published_loss(**inputs), ours(**inputs), rtol=1e-4, atol=1e-4)
        functions["published"] = step(published_loss, inputs)
    seconds = medians(functions, repeats, warmup=3, clock=clock_for(1))
    row = {"B": B, "U": U, "K": K, "D": D, "repeats": repeats, "pseudo_label": pseudo_label}
    row |= {f"{name}_ms": 1e3 * value for name, value in seconds.items()}
    row |= {f"ours_over_{name}": seconds["ours"] / seconds[name] for name in ("stock", "floor")}
    if "published" in seconds:
        row |= {f"published_over_{name}": seconds["published"] / seconds[name] for name in ("stock", "ours")}
    return row


def describe(row: dict) -> str:
    """A row as one line of text."""
    times = ", ".join(
        f"{name} {row[f'{name}_ms']:.1f}" for name in ("stock", "floor", "ours", "published") if f"{name}_ms" in row
    )
    ratios = f"ours/stock {row['ours_over_stock']:.2f}, ours/floor {row['ours_over_floor']:.2f}"
    if "published_ms" in row:
        ratios += (
            f", published/stock {row['published_over_stock']:.2f}, published/ours {row['published_over_ours']:.2f}"
        )
    return f"B={row['B']} U={row['U']} K={row['K']} D={row['D']}: ms {times}; {ratios}"


def main() -> None:
    """Measure and print what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, action="append", metavar=("B", "U", "K"), help="repeatable")
    parser.add_argument("--width", type=int, default=512, help="D (default: 512)")
    parser.add_argument("--repeats", type=int, default=15, help="timed runs of each; the median counts (default: 15)")
    parser.add_argument(
        "--pseudo-label", default="ot-image", help="default: ot-image, the only rule of the published algorithm"
    )
    parser.add_argument("--json", metavar="OUT", help="write the figures here as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for B, U, K in arguments.size or SIZES:
        row = measure(B, U, K, arguments.width, arguments.repeats, arguments.pseudo_label)
        rows.append(row)
        print(describe(row), flush=True)
    write_json(arguments.json, {"machine": machine(), "loss": rows})


if __name__ == "__main__":
    main()
