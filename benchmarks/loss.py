"""The loss, forward + backward, on one CPU thread: SClipLoss at (B, U, K) over stock open_clip's ClipLoss at B.

    python benchmarks/loss.py --json loss.json
    python benchmarks/loss.py --size 256 256 200 --repeats 15

Legend: B pairs, U unpaired images, K keywords, D width.
"""

import argparse

import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss
from timing import machine, medians, write_json

from sclip_plugin import SClipLoss

SIZES = [(256, 256, 200), (1024, 1024, 300)]


def unit(rows: int, width: int) -> torch.Tensor:
    """(rows, width) random unit vectors, a leaf with gradient."""
    return F.normalize(torch.randn(rows, width), dim=-1).requires_grad_()


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


def step(loss: torch.nn.Module, inputs: dict):
    """A function that runs forward and backward once, from cleared gradients."""

    def run():
        for tensor in inputs.values():
            tensor.grad = None
        loss(**inputs).backward()

    return run


def measure(B: int, U: int, K: int, D: int, repeats: int, pseudo_label: str) -> dict:
    """Milliseconds of both and their ratio."""
    inputs = make_inputs(B, U, K, D)
    paired = {name: inputs[name] for name in ("image_features", "text_features", "logit_scale")}
    functions = {"stock": step(ClipLoss(), paired), "sclip": step(SClipLoss(pseudo_label=pseudo_label), inputs)}
    seconds = medians(functions, repeats, warmup=3)
    ratio = seconds["sclip"] / seconds["stock"]
    return {"B": B, "U": U, "K": K, "D": D, "repeats": repeats, "pseudo_label": pseudo_label} | {
        "stock_ms": 1e3 * seconds["stock"],
        "sclip_ms": 1e3 * seconds["sclip"],
        "ratio": ratio,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, action="append", metavar=("B", "U", "K"), help="repeatable")
    parser.add_argument("--width", type=int, default=512, help="D (default: 512)")
    parser.add_argument("--repeats", type=int, default=15, help="timed runs of each; the median counts (default: 15)")
    parser.add_argument("--pseudo-label", default="ot-image")
    parser.add_argument("--json", metavar="OUT", help="write the figures here as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for B, U, K in arguments.size or SIZES:
        row = measure(B, U, K, arguments.width, arguments.repeats, arguments.pseudo_label)
        rows.append(row)
        print(
            f"B={B} U={U} K={K} D={row['D']}: stock {row['stock_ms']:.1f} ms, "
            f"sclip {row['sclip_ms']:.1f} ms, ratio {row['ratio']:.2f}",
            flush=True,
        )
    write_json(arguments.json, {"machine": machine(), "loss": rows})


if __name__ == "__main__":
    main()
