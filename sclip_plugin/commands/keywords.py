"""Keywords out of the captions of paired shards, for --keywords.

    sclip keywords shards/paired --out keywords.txt --top 100
    sclip keywords shards/paired --out keywords.txt --method classes --recipe rsicd
    sclip keywords shards/paired --out keywords.txt --method embedding --model ViT-B-32 --pretrained openai

Methods: yake (the paper's), frequency (phrases in most captions), tfidf (in many, but not in all), nouns (noun
phrases; needs an extra), classes (class names of a recipe or a classnames.txt), embedding (nearest in meaning to the
captions, by a CLIP text tower). Writes one keyword a line with the number of captions it occurs in as a comment, best
first, and prints how many captions hold at least one. Captions are read as a stream; memory does not grow with them.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sclip_plugin.atomic import write_atomic
from sclip_plugin.data.shard_list import expand
from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.keywords import Vocabulary, words
from sclip_plugin.shards.keywords.captions import read_captions
from sclip_plugin.shards.keywords.phrases import METHODS, Style, languages, stop_words
from sclip_plugin.shards.keywords.variants import merge_variants
from sclip_plugin.shards.recipes import recipe as recipes

DEFAULTS = {"top": 100, "max_words": 2, "min_count": 1, "language": "en", "workers": min(8, os.cpu_count() or 1)}
SPARE = 3  # candidates ranked per keyword wanted: some do not occur as whole words
LOW_COVERAGE, GENERIC = 0.5, 0.5
ENCODED = 20_000  # captions that --method embedding encodes at most: minutes on a CPU


def add_arguments(parser) -> None:
    """Arguments of `sclip keywords`."""
    add = parser.add_argument
    add("shards", nargs="?", metavar="SHARDS", help="folder, pattern or URL of paired shards (classes: optional)")
    add("--out", required=True, metavar="FILE", help="keyword file to write")
    add("--method", choices=(*METHODS, "classes", "embedding"), default="yake", help="default: yake")
    add("--top", type=int, metavar="K", help="keywords wanted (default: 100; the paper: 50 to 300)")
    add("--max-words", type=int, metavar="N", help="longest phrase (default: 2)")
    add("--min-count", type=int, metavar="N", help="captions that must hold a keyword (default: 1)")
    add("--language", metavar="CODE", help="of the stop-words, two letters (default: en)")
    add("--stop-words", metavar="FILE", help="more words that no keyword begins or ends with, one a line")
    add("--keep-variants", action="store_true", help="keep near-duplicates (tree, trees) apart")
    add("--recipe", action="append", default=[], metavar="NAME", help="classes: of this recipe; repeatable")
    add("--classes", metavar="FILE", help="classes: of this classnames.txt")
    add("--model", help="embedding: open_clip model name, or local-dir:DIR")
    add("--pretrained", help="embedding: checkpoint file or pretrained tag")
    add("--device", default="cpu", help="embedding: default cpu")
    add("--workers", type=int, metavar="N", help="yake: processes; same result for any (default: cores, at most 8)")


def run(args) -> None:
    """Rank, count, keep the best, write; prints coverage and warnings."""
    style = _check(args)
    named = _class_names(args) if args.method == "classes" else None
    if named and not args.shards:
        write_atomic(Path(args.out), _file(args, named, None, 0))
        print(f"{len(named)} keywords -> {args.out}")
        return
    shards = expand(args.shards, "SHARDS")
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as spool:
        total = _spool(shards.urls, spool)
        if not total:
            raise DataError(f"{args.shards}: no captions in {len(shards)} shards (neither KEY.json nor KEY.txt)")
        ranked = named or _rank(args, style, spool, total)
        if not ranked:
            raise DataError(f"{args.shards}: --method {args.method} finds no keyword in {total} captions")
        frequency = _frequencies(Vocabulary(ranked), _lines(spool, total, "counting"))
        kept = named or _keep(args, ranked, frequency)
        matches = _matches(Vocabulary(kept), _lines(spool, total, "coverage"))
    write_atomic(Path(args.out), _file(args, kept, frequency, total))
    _report(args, kept, frequency, matches)


def _check(args) -> Style:
    """Refuse what cannot work or would do nothing. Raises UsageError, DataError."""
    if args.method == "classes":
        for flag in (*DEFAULTS, "stop_words", "keep_variants"):
            if getattr(args, flag):
                raise UsageError(
                    f"--{flag.replace('_', '-')} has no effect on --method classes, which takes every name"
                )
    for flag, value in DEFAULTS.items():
        if getattr(args, flag) is None:
            setattr(args, flag, value)
    for flag in ("top", "max_words", "min_count", "workers"):
        if getattr(args, flag) < 1:
            raise UsageError(f"--{flag.replace('_', '-')} must be at least 1, got {getattr(args, flag)}")
    if args.language not in languages():
        raise UsageError(f"--language: no stop-word list for {args.language!r}; there are: {', '.join(languages())}")
    for method, flags in (("classes", ("recipe", "classes")), ("embedding", ("model", "pretrained"))):
        for flag in flags:
            if getattr(args, flag) and args.method != method:
                raise UsageError(f"--{flag} needs --method {method}")
    if args.method == "embedding" and not args.model:
        raise UsageError("--method embedding needs --model")
    if args.method == "classes" and bool(args.recipe) == bool(args.classes):
        raise UsageError("--method classes takes its names from --recipe NAME or from --classes FILE")
    if not args.shards and args.method != "classes":
        raise UsageError("SHARDS is missing")
    return Style(args.max_words, args.language, stop_words(args.language) | _more_stop_words(args), args.workers)


def _more_stop_words(args) -> frozenset[str]:
    if not args.stop_words:
        return frozenset()
    try:
        lines = Path(args.stop_words).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--stop-words {args.stop_words}: {getattr(error, 'strerror', None) or error}") from None
    return frozenset(word for line in lines for word in words(line))


def _class_names(args) -> list[str]:
    """The class names; those equal without case and punctuation once.

    Raises:
        DataError: no names.
    """
    if args.recipe:
        names = recipes.class_names(recipes.chosen(args.recipe))
    else:
        try:
            names = Path(args.classes).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"--classes {args.classes}: {getattr(error, 'strerror', None) or error}") from None
    once = {words(name): name.strip() for name in reversed(names) if words(name)}
    if not once:
        raise DataError(
            f"no class names in {args.classes or ', '.join(args.recipe)}: its sets are named by their folders"
        )
    return list(reversed(once.values()))


def _rank(args, style: Style, spool, total: int) -> list[str]:
    wanted = SPARE * args.top
    if args.method != "embedding":
        return METHODS[args.method](_lines(spool, total, "ranking"), wanted, style)
    from sclip_plugin.evaluation.features import Encoder
    from sclip_plugin.evaluation.models import load_model
    from sclip_plugin.shards.keywords.embedding import embedding_keywords

    model, _, tokenizer = load_model(args.model, args.pretrained, args.device, "fp32")
    encoder = Encoder(model, tokenizer, args.device)
    if total > ENCODED:
        print(f"{ENCODED} of {total} captions are encoded, evenly spaced")
    return embedding_keywords(lambda: _lines(spool, total, "ranking"), total, wanted, style, encoder, ENCODED)


def _keep(args, ranked: list[str], frequency: dict[str, int]) -> list[str]:
    """The best of those that occur as whole words in enough captions.

    Raises:
        DataError: none does.
    """
    kept = [word for word in ranked if frequency[word] >= args.min_count]
    if not kept:
        raise DataError(f"{args.shards}: no candidate keyword occurs in {args.min_count} captions as whole words")
    if not args.keep_variants:
        merged = merge_variants(kept, frequency, args.language)
        if gone := [word for word in kept[: args.top] if word not in merged]:
            more = f" and {len(gone) - 5} more" if len(gone) > 5 else ""
            print(f"near-duplicates left out: {', '.join(gone[:5])}{more} (--keep-variants keeps them)")
        kept = merged
    return kept[: args.top]


def _spool(urls: list[str], spool) -> int:
    """Write every caption on a line of `spool`; returns how many."""
    total = 0
    for url in tqdm(urls, desc="reading captions", unit="shard", disable=None):
        for caption in read_captions(url):
            spool.write(caption + "\n")
            total += 1
    return total


def _lines(spool, total: int, what: str) -> Iterator[str]:
    spool.seek(0)
    for line in tqdm(spool, total=total, desc=what, unit="caption", disable=None):
        yield line.rstrip("\n")


def _frequencies(vocabulary: Vocabulary, captions: Iterator[str]) -> dict[str, int]:
    """{keyword: captions that hold it}."""
    counts = np.zeros(len(vocabulary), dtype=np.int64)
    for caption in captions:
        counts[vocabulary.indices(caption)] += 1
    return dict(zip(vocabulary, counts.tolist()))


def _matches(vocabulary: Vocabulary, captions: Iterator[str]) -> np.ndarray:
    """int64 (K+1,): how many captions hold 0, 1, … K of the keywords."""
    histogram = np.zeros(len(vocabulary) + 1, dtype=np.int64)
    for caption in captions:
        histogram[len(vocabulary.indices(caption))] += 1
    return histogram


def _file(args, kept: list[str], frequency: dict[str, int] | None, total: int) -> str:
    """The keyword file. frequency: None where no captions were read."""
    told = f"# sclip keywords --method {args.method}"
    told += "".join(f" --recipe {name}" for name in args.recipe) + (
        f" --classes {args.classes}" if args.classes else ""
    )
    if args.method != "classes":
        told += (
            f" --top {args.top} --max-words {args.max_words} --min-count {args.min_count} --language {args.language}"
        )
    if frequency is None:
        return f"{told}\n# {len(kept)} keywords\n" + "".join(f"{word}\n" for word in kept)
    told += f"\n# {len(kept)} keywords out of {total} captions; behind each, the number of captions that hold it\n"
    return told + "".join(f"{word}\t# {frequency[word]}\n" for word in kept)


def _report(args, kept: list[str], frequency: dict[str, int], matches: np.ndarray) -> None:
    """Print coverage; warn of keywords that say too little."""
    total = int(matches.sum())
    coverage = 1 - matches[0] / total
    mean = float(matches @ np.arange(len(matches))) / total
    print(f"{len(kept)} keywords -> {args.out}")
    print(f"coverage: {coverage:.1%} of {total} captions hold a keyword; {mean:.2f} keywords per caption")
    if coverage < LOW_COVERAGE:
        advice = "raise --top" if args.method != "classes" else "the captions use other words; see the other methods"
        print(f"warning: {1 - coverage:.0%} of the captions hold no keyword and teach none; {advice}")
    for word in kept:
        if frequency[word] > GENERIC * total:
            share = f"{frequency[word] / total:.0%}"
            print(f"warning: {word!r} is in {share} of the captions and tells few apart; drop it, or see --stop-words")
