"""A whole training step on the CPU: S-CLIP against stock towers on the same images and captions.

    python benchmarks/step.py --json step.json
    python benchmarks/step.py --keywords 200 1000

Both sides see the same B + U images and B captions, and do forward, loss, backward and the optimizer's step. Stock
takes ClipLoss on the first B; ours sends the keywords through the text tower too, and takes SClipLoss. The ratio of
FLOPs says what the keywords cost at least; the ratio of seconds says what they cost. The recipe's step
(`--sclip-recipe trusted`) has no transport, draws from all N pairs and learns the pairs' own keywords too; it is
compared with the published one's.

Legend: B pairs, U unpaired images, N pairs in the set, K keywords, l tokens of a keyword (start and end tokens
included).
"""

import argparse
import copy

import open_clip
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss
from timing import clock_for, machine, medians, write_json
from torch.utils.flop_counter import FlopCounterMode

from sclip_plugin import SClipLoss
from sclip_plugin.data.batch import MixedImages, MixedTexts
from sclip_plugin.loss.settings import LossSettings
from sclip_plugin.teacher.settings import NEIGHBOURS
from sclip_plugin.training.model import adapt
from sclip_plugin.training.recipe import TRUSTED


def make_tokens(rows: int, length: int, width: int, vocabulary: int) -> torch.Tensor:
    """(rows, width): tokens of random texts: start, words, end, then zeros, as open_clip's tokenizer gives them.

    Args:
        rows: texts.
        length: tokens of a text, start and end included; cut to `width`.
        width: the model's context.
        vocabulary: tokens that the model knows.
    """
    length = min(length, width)
    tokens = torch.zeros(rows, width, dtype=torch.long)
    tokens[:, :length] = torch.randint(1, vocabulary - 2, (rows, length))
    tokens[:, 0], tokens[:, length - 1] = vocabulary - 2, vocabulary - 1
    return tokens


def held(rows: int, keywords: int) -> torch.Tensor:
    """bool (rows, keywords): three keywords a caption, on average."""
    return torch.rand(rows, keywords) < 3 / keywords


def stock_step(model, pixels, tokens):
    """A function that takes stock's step: towers on all images and captions, ClipLoss on the first B."""
    loss, optimizer = ClipLoss(), torch.optim.AdamW(model.parameters(), lr=1e-5)
    pairs = len(tokens)

    def run(step=True):
        optimizer.zero_grad()
        output = model(pixels, tokens)
        loss(output["image_features"][:pairs], output["text_features"], output["logit_scale"]).backward()
        if step:
            optimizer.step()

    return run


def sclip_step(model, pixels, tokens, keyword_tokens, support=0):
    """A function that takes the plugin's step: one image pass, captions, keywords at their own length, SClipLoss.

    Args:
        model: the model, which is changed in place.
        pixels: (B + U, 3, H, W).
        tokens: (B, L).
        keyword_tokens: (K, l).
        support: N, with the recipe's labels; 0: the published loss.
    """
    candidates = held(len(tokens), len(keyword_tokens))
    adapt(model, keyword_tokens)
    loss, labels = SClipLoss(), ()
    if support:
        settings = {name.removeprefix("sclip_"): value for name, value in TRUSTED.items()}
        loss = SClipLoss(**{name: settings[name] for name in settings if name in LossSettings.__dataclass_fields__})
        width = model.text_projection.shape[1]
        loss.remember(F.normalize(torch.randn(support, width), dim=1), held(support, len(keyword_tokens)))
        unpaired = len(pixels) - len(tokens)
        nearest = torch.rand(unpaired, support).topk(NEIGHBOURS).indices
        labels = (torch.randperm(support)[: len(tokens)], nearest, torch.full(nearest.shape, 1 / NEIGHBOURS))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    images, texts = MixedImages(pixels, len(tokens)), MixedTexts(tokens, candidates, *labels)

    def run(step=True):
        optimizer.zero_grad()
        sum(loss(**model(images, texts), output_dict=True).values()).backward()
        if step:
            optimizer.step()

    return run


def count_flops(run) -> int:
    """FLOPs of one forward + backward as torch counts them, which are matrix products and attention."""
    with FlopCounterMode(display=False) as counter:
        run(step=False)
    return counter.get_total_flops()


def measure(arguments: argparse.Namespace) -> list[dict]:
    """For each K a row with the seconds and FLOPs of both steps and their ratios."""
    stock = open_clip.create_model(arguments.model, output_dict=True).train()
    size = stock.visual.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    pixels = torch.randn(arguments.pairs + arguments.unpaired, 3, height, width)
    tokens = make_tokens(arguments.pairs, 20, stock.context_length, stock.vocab_size)
    functions = {}
    for count in arguments.keywords:
        keywords = make_tokens(count, arguments.keyword_length, arguments.keyword_length, stock.vocab_size)
        functions[count] = sclip_step(copy.deepcopy(stock), pixels, tokens, keywords)
        functions[count, "recipe"] = sclip_step(copy.deepcopy(stock), pixels, tokens, keywords, arguments.support)
    functions["stock"] = stock_step(stock, pixels, tokens)
    flops = {name: count_flops(function) for name, function in functions.items()}
    seconds = medians(functions, arguments.repeats, clock=clock_for(arguments.threads))
    rows = []
    for count in arguments.keywords:
        row = {name: getattr(arguments, name) for name in ("model", "pairs", "unpaired", "keyword_length", "repeats")}
        row |= {"keywords": count, "stock_seconds": seconds["stock"], "sclip_seconds": seconds[count]}
        row |= {"stock_gflops": flops["stock"] / 1e9, "sclip_gflops": flops[count] / 1e9}
        row["ratio"], row["flop_ratio"] = seconds[count] / seconds["stock"], flops[count] / flops["stock"]
        row |= {"support": arguments.support, "recipe_seconds": seconds[count, "recipe"]}
        row |= {"recipe_ratio": seconds[count, "recipe"] / seconds[count]}
        rows.append(row | {"quotient": row["ratio"] / row["flop_ratio"]})
    return rows


def main() -> None:
    """Measure and print what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-S-32", help="an open_clip model name, randomly initialised")
    parser.add_argument("--pairs", type=int, default=64, help="B")
    parser.add_argument("--unpaired", type=int, default=64, help="U")
    parser.add_argument("--keywords", type=int, nargs="+", default=[200], metavar="K", help="default: 200")
    parser.add_argument("--support", type=int, default=1000, help="N, for the recipe (default: 1000)")
    parser.add_argument("--keyword-length", type=int, default=5, help="tokens, start and end included (default: 5)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps of each; the median counts (default: 5)")
    parser.add_argument("--json", metavar="OUT", help="write the figures here as well")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rows = measure(arguments)
    for row in rows:
        print(
            f"{row['model']} B={row['pairs']} U={row['unpaired']} K={row['keywords']}: "
            f"seconds stock {row['stock_seconds']:.2f}, ours {row['sclip_seconds']:.2f}, ratio {row['ratio']:.3f}; "
            f"GFLOP stock {row['stock_gflops']:.0f}, ours {row['sclip_gflops']:.0f}, ratio {row['flop_ratio']:.3f}; "
            f"measured ratio / FLOP ratio {row['quotient']:.3f}; "
            f"the recipe over N={row['support']} pairs {row['recipe_seconds']:.2f}, {row['recipe_ratio']:.3f} of ours"
        )
    write_json(arguments.json, {"machine": machine(), "step": rows})


if __name__ == "__main__":
    main()
