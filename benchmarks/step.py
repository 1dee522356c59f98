"""A whole training step on the CPU: S-CLIP over stock towers on the same images and captions.

    python benchmarks/step.py --json step.json

Both sides see the same B + U images and B captions: forward, loss, backward, optimiser step. Stock takes ClipLoss on
the first B; ours adds the keywords through the text tower and SClipLoss. The ratio of FLOPs says what the keywords
cost at least; the ratio of seconds says what they cost.

Legend: B pairs, U unpaired images, K keywords, l tokens of a keyword (start and end tokens included).
"""

import argparse
import copy

import open_clip
import torch
from open_clip.loss import ClipLoss
from timing import machine, medians, write_json
from torch.utils.flop_counter import FlopCounterMode

from sclip_plugin import SClipLoss
from sclip_plugin.data.batch import MixedImages, MixedTexts
from sclip_plugin.model import adapt


def make_tokens(rows: int, length: int, width: int, vocabulary: int) -> torch.Tensor:
    """(rows, width) random token rows of `length` tokens: start, words, end, then zeros; open_clip's convention."""
    tokens = torch.zeros(rows, width, dtype=torch.long)
    tokens[:, :length] = torch.randint(1, vocabulary - 2, (rows, length))
    tokens[:, 0], tokens[:, length - 1] = vocabulary - 2, vocabulary - 1
    return tokens


def stock_step(model, pixels, tokens):
    """Stock towers on all images and captions, ClipLoss on the first B."""
    loss, optimizer = ClipLoss(), torch.optim.AdamW(model.parameters(), lr=1e-5)
    pairs = len(tokens)

    def run(step=True):
        optimizer.zero_grad()
        output = model(pixels, tokens)
        loss(output["image_features"][:pairs], output["text_features"], output["logit_scale"]).backward()
        if step:
            optimizer.step()

    return run


def sclip_step(model, pixels, tokens, keyword_tokens):
    """The plugin's step: one image pass, captions, keywords at their own length, SClipLoss."""
    candidates = torch.rand(len(tokens), len(keyword_tokens)) < 3 / len(keyword_tokens)
    adapt(model, keyword_tokens)
    loss, optimizer = SClipLoss(), torch.optim.AdamW(model.parameters(), lr=1e-5)
    images, texts = MixedImages(pixels, len(tokens)), MixedTexts(tokens, candidates)

    def run(step=True):
        optimizer.zero_grad()
        sum(loss(**model(images, texts), output_dict=True).values()).backward()
        if step:
            optimizer.step()

    return run


def count_flops(run) -> int:
    """FLOPs of one forward + backward, as torch's counter counts them (matrix products and attention)."""
    with FlopCounterMode(display=False) as counter:
        run(step=False)
    return counter.get_total_flops()


def measure(arguments: argparse.Namespace) -> dict:
    """Seconds and FLOPs of both steps and their ratios."""
    ours = open_clip.create_model(arguments.model, output_dict=True).train()
    stock = copy.deepcopy(ours)
    size = ours.visual.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    pixels = torch.randn(arguments.pairs + arguments.unpaired, 3, height, width)
    tokens = make_tokens(arguments.pairs, 20, ours.context_length, ours.vocab_size)
    keywords = make_tokens(arguments.keywords, arguments.keyword_length, arguments.keyword_length, ours.vocab_size)
    functions = {"stock": stock_step(stock, pixels, tokens), "sclip": sclip_step(ours, pixels, tokens, keywords)}
    flops = {name: count_flops(function) for name, function in functions.items()}
    seconds = medians(functions, arguments.repeats)
    return {
        **{name: getattr(arguments, name) for name in ("model", "pairs", "unpaired", "keywords", "keyword_length")},
        "repeats": arguments.repeats,
        **{f"{name}_seconds": value for name, value in seconds.items()},
        **{f"{name}_gflops": value / 1e9 for name, value in flops.items()},
        "ratio": seconds["sclip"] / seconds["stock"],
        "flop_ratio": flops["sclip"] / flops["stock"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-S-32", help="an open_clip model name, randomly initialised")
    parser.add_argument("--pairs", type=int, default=64, help="B")
    parser.add_argument("--unpaired", type=int, default=64, help="U")
    parser.add_argument("--keywords", type=int, default=200, help="K")
    parser.add_argument("--keyword-length", type=int, default=5, help="tokens, start and end included (default: 5)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5, help="timed steps of each; the median counts (default: 5)")
    parser.add_argument("--json", metavar="OUT", help="write the figures here as well")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    row = measure(arguments)
    print(f"{row['model']} B={row['pairs']} U={row['unpaired']} K={row['keywords']} of {row['keyword_length']} tokens")
    print(f"seconds: stock {row['stock_seconds']:.2f}, sclip {row['sclip_seconds']:.2f}, ratio {row['ratio']:.3f}")
    print(f"GFLOP: stock {row['stock_gflops']:.0f}, sclip {row['sclip_gflops']:.0f}, ratio {row['flop_ratio']:.3f}")
    print(f"measured ratio / FLOP ratio: {row['ratio'] / row['flop_ratio']:.3f}")
    write_json(arguments.json, {"machine": machine(), "step": row})


if __name__ == "__main__":
    main()
