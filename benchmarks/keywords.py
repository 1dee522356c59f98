"""Keywords: matching captions against a vocabulary, and encoding it at its own length.

    python benchmarks/keywords.py --json keywords.json

Matching is compared with a search by one regular expression per keyword, as a plain loop would do it. Encoding (forward
+ backward of a text tower) is compared with the same keywords padded to the model's context, as a caption is.

Legend: K keywords, l tokens of a keyword (start and end tokens included).
"""

import argparse
import re

import open_clip
import torch
from photos import WORDS, caption
from step import make_tokens
from timing import clock_for, machine, medians, write_json

from sclip_plugin.keywords import Vocabulary
from sclip_plugin.training.model import adapt


def measure_matching(count: int, repeats: int, captions: int = 200) -> dict:
    """Microseconds per caption for a vocabulary of `count` words and phrases."""
    keywords = [*WORDS, *(f"{first} {second}" for first in WORDS for second in WORDS if first != second)]
    keywords = (keywords + [f"word{number}" for number in range(count)])[:count]
    vocabulary, texts = Vocabulary(keywords), [caption(seed) for seed in range(captions)]
    patterns = [re.compile(rf"\b{re.escape(keyword)}\b", re.IGNORECASE) for keyword in keywords]

    def search():
        return [[k for k, pattern in enumerate(patterns) if pattern.search(text)] for text in texts]

    assert search() == [vocabulary.indices(text) for text in texts]
    functions = {"ours": lambda: [vocabulary.indices(text) for text in texts], "searches": search}
    seconds = medians(functions, repeats, clock=clock_for(1))
    row = {"K": count} | {f"{name}_us": 1e6 * value / captions for name, value in seconds.items()}
    return row | {"ratio": seconds["searches"] / seconds["ours"]}


def measure_encoding(arguments: argparse.Namespace) -> dict:
    """Milliseconds of forward + backward of the text tower over all keywords."""
    model = open_clip.create_model(arguments.model, output_dict=True).train()
    tokens = make_tokens(arguments.keywords, arguments.keyword_length, model.context_length, model.vocab_size)
    adapt(model, tokens)

    def own_length():
        model.zero_grad()
        model._encode_keywords().sum().backward()

    def full_context():
        model.zero_grad()
        model(None, tokens)["text_features"].sum().backward()

    seconds = medians({"own": own_length, "full": full_context}, arguments.repeats, clock=clock_for(1))
    row = {"model": arguments.model, "K": arguments.keywords, "l": arguments.keyword_length}
    row |= {f"{name}_ms": 1e3 * value for name, value in seconds.items()}
    return row | {"ratio": seconds["full"] / seconds["own"], "context": model.context_length}


def main() -> None:
    """Measure and print what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--vocabulary", type=int, nargs="+", default=[50, 200, 1000], metavar="K", help="K for matching"
    )
    parser.add_argument("--model", default="ViT-S-32", help="whose text tower encodes the keywords (default: ViT-S-32)")
    parser.add_argument("--keywords", type=int, default=64, help="K for encoding (default: 64)")
    parser.add_argument("--keyword-length", type=int, default=5, help="tokens, start and end included (default: 5)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each; the median counts (default: 5)")
    parser.add_argument("--json", metavar="OUT", help="write the figures here as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    matching = []
    for count in arguments.vocabulary:
        row = measure_matching(count, arguments.repeats)
        matching.append(row)
        print(
            f"matching K={count}: {row['ours_us']:.1f} µs a caption, {row['searches_us']:.0f} by K searches, "
            f"{row['ratio']:.0f} times as long",
            flush=True,
        )
    encoding = measure_encoding(arguments)
    print(
        f"encoding {encoding['model']} K={encoding['K']} of {encoding['l']} tokens: {encoding['own_ms']:.0f} ms, "
        f"{encoding['full_ms']:.0f} at the context of {encoding['context']}, {encoding['ratio']:.1f} times as long"
    )
    write_json(arguments.json, {"machine": machine(), "matching": matching, "encoding": encoding})


if __name__ == "__main__":
    main()
