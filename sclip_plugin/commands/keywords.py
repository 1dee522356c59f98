"""Keywords out of the captions of paired shards, for --keywords.

    sclip keywords shards/paired --out keywords.txt --top 100
    sclip keywords shards/paired --out keywords.txt --method classes --recipe rsicd
    sclip keywords shards/paired --out keywords.txt --method embedding --model ViT-B-32-quickgelu \\
        --pretrained openai

Methods: yake (the paper's), frequency (phrases in most captions), tfidf (in many, but not in all), nouns (noun
phrases; needs an extra), classes (class names of a recipe or a classnames.txt), embedding (nearest in meaning to the
captions, by a CLIP text tower). The file has one keyword a line, best first, with the number of captions it occurs in
as a comment; the command prints how many captions hold at least one. Captions are read as a stream; memory does not
grow with them.
"""

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from sclip_plugin.atomic import write_atomic
from sclip_plugin.data.shard_list import expand
from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.keywords import read_lines
from sclip_plugin.shards.keywords import embedding
from sclip_plugin.shards.keywords.captions import CaptionSpool, spooled
from sclip_plugin.shards.keywords.embedding import TextTower
from sclip_plugin.shards.keywords.extraction import (
    EMBEDDING,
    CountedKeywords,
    ExtractionOptions,
    count,
    extract,
)
from sclip_plugin.shards.keywords.keyword_file import (
    counted_file_text,
    file_text,
    origin_of_classes,
    origin_of_phrases,
)
from sclip_plugin.shards.keywords.phrases import METHODS, PhraseOptions
from sclip_plugin.shards.keywords.stop_words import languages, split_words
from sclip_plugin.shards.keywords.variants import distinct_names
from sclip_plugin.shards.recipes import recipe as recipes

CLASSES = "classes"
# the flags that take a number, and what they are where they are not given
DEFAULTS = {
    "top": ExtractionOptions.top,
    "max_words": PhraseOptions.max_words,
    "min_count": ExtractionOptions.min_count,
    "workers": min(8, os.cpu_count() or 1),
}
# the flags that mean nothing to --method classes
OF_PHRASES = ("top", "max_words", "min_count", "language", "workers", "stop_words", "keep_variants")
LOW_COVERAGE, GENERIC = 0.5, 0.5  # shares of the captions below and above which a warning is printed (ours)
SHOWN = 5  # near-duplicates that are named


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `sclip keywords`."""
    add = parser.add_argument
    add("shards", nargs="?", metavar="SHARDS", help="folder, pattern or URL of paired shards (classes: optional)")
    add("--out", required=True, metavar="FILE", help="keyword file to write")
    add("--method", choices=(*METHODS, CLASSES, EMBEDDING), default=ExtractionOptions.method, help="default: yake")
    add("--top", type=int, metavar="K", help=f"keywords wanted (default: {DEFAULTS['top']}; the paper: 50 to 300)")
    add("--max-words", type=int, metavar="N", help=f"words of the longest phrase (default: {DEFAULTS['max_words']})")
    add(
        "--min-count",
        type=int,
        metavar="N",
        help=f"captions that must hold a keyword (default: {DEFAULTS['min_count']})",
    )
    add("--language", metavar="CODE", help="language of the stop-words, two letters (default: en)")
    add("--stop-words", metavar="FILE", help="more words that no keyword begins or ends with, one a line")
    add("--keep-variants", action="store_true", help="keep near-duplicates (tree, trees) apart")
    add(
        "--recipe",
        action="append",
        default=[],
        metavar="NAME",
        help="for classes: recipe that names them; repeatable",
    )
    add("--classes", metavar="FILE", help="for classes: file of class names, one a line")
    add("--model", help="for embedding: open_clip's model name, or local-dir:DIR")
    add("--pretrained", help="for embedding: checkpoint file or pretrained tag")
    add("--device", default="cpu", help="for embedding: where the model runs (default: cpu)")
    add("--workers", type=int, metavar="N", help="for yake: processes; same result for any (default: cores, at most 8)")


def run(args: Namespace) -> None:
    """Write the keyword file; print coverage and warnings."""
    _check_combination(args)
    if args.method == CLASSES:
        _write_classes(args, _class_names(args))
    else:
        _write_phrases(args, _options(args))


def _write_classes(args: Namespace, names: list[str]) -> None:
    origin = origin_of_classes(args.recipe, args.classes)
    if not args.shards:
        write_atomic(Path(args.out), file_text(origin, names))
        print(f"{len(names)} keywords -> {args.out}")
        return
    with spooled(expand(args.shards, "SHARDS").urls, args.shards) as captions:
        _tell_skipped(captions)
        counted = count(names, captions)
    write_atomic(Path(args.out), counted_file_text(origin, counted))
    _report(counted, args.out, "the captions use other words; see the other methods")


def _write_phrases(args: Namespace, options: ExtractionOptions) -> None:
    with spooled(expand(args.shards, "SHARDS").urls, args.shards) as captions:
        _tell_skipped(captions)
        _tell_encoded(captions, options)
        counted = extract(captions, options, args.shards)
    _tell_left_out(counted.left_out)
    write_atomic(Path(args.out), counted_file_text(origin_of_phrases(options), counted))
    _report(counted, args.out, "raise --top")


def _check_combination(args: Namespace) -> None:
    """Refuse flags that would have no effect, and arguments that are missing.

    Raises:
        UsageError: names the flag.
    """
    if args.method == CLASSES:
        for flag in OF_PHRASES:
            if getattr(args, flag) is not None and getattr(args, flag) is not False:
                raise UsageError(f"{_written(flag)} has no effect on --method classes, which takes every name")
    for method, flags in ((CLASSES, ("recipe", "classes")), (EMBEDDING, ("model", "pretrained"))):
        for flag in flags:
            if getattr(args, flag) and args.method != method:
                raise UsageError(f"--{flag} needs --method {method}")
    if args.method == EMBEDDING and not args.model:
        raise UsageError("--method embedding needs --model")
    if args.method == CLASSES and bool(args.recipe) == bool(args.classes):
        raise UsageError("--method classes takes its names from --recipe NAME or from --classes FILE")
    if not args.shards and args.method != CLASSES:
        raise UsageError("SHARDS is missing")


def _options(args: Namespace) -> ExtractionOptions:
    """What the flags say of phrases and keywords.

    Raises:
        UsageError: a number below 1, or a language without a stop-word list.
        DataError: the file of stop-words cannot be read.
    """
    number = {flag: _number(args, flag) for flag in DEFAULTS}
    language = PhraseOptions.language if args.language is None else args.language
    if language not in languages():
        raise UsageError(f"--language: no stop-word list for {language!r}; there are: {', '.join(languages())}")
    stop = read_lines(args.stop_words, f"--stop-words {args.stop_words}") if args.stop_words else []
    phrases = PhraseOptions(number["max_words"], language, split_words(stop), number["workers"])
    tower = TextTower(args.model, args.pretrained, args.device) if args.method == EMBEDDING else None
    return ExtractionOptions(args.method, number["top"], number["min_count"], args.keep_variants, phrases, tower)


def _number(args: Namespace, flag: str) -> int:
    value = getattr(args, flag)
    if value is not None and value < 1:
        raise UsageError(f"{_written(flag)} must be at least 1, got {value}")
    return DEFAULTS[flag] if value is None else value


def _written(flag: str) -> str:
    """The flag as a user writes it."""
    return f"--{flag.replace('_', '-')}"


def _class_names(args: Namespace) -> list[str]:
    """The class names of the recipes or of the file, without repetitions.

    Raises:
        UsageError: no such recipe.
        DataError: the file cannot be read, or there are no names.
    """
    if args.recipe:
        names = recipes.class_names(recipes.chosen(args.recipe))
    else:
        names = read_lines(args.classes, f"--classes {args.classes}")
    found = distinct_names(names)
    if not found:
        where = args.classes or ", ".join(args.recipe)
        raise DataError(f"no class names in {where}: its sets are named by their folders")
    return found


def _tell_skipped(captions: CaptionSpool) -> None:
    for reason, number in sorted(captions.skipped.items()):
        print(f"samples skipped: {number} ({reason})")


def _tell_encoded(captions: CaptionSpool, options: ExtractionOptions) -> None:
    if options.method == EMBEDDING and len(captions) > embedding.MOST_ENCODED:
        print(f"{embedding.MOST_ENCODED} of {len(captions)} captions are encoded, evenly spaced")


def _tell_left_out(words: tuple[str, ...]) -> None:
    if words:
        more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
        print(f"near-duplicates left out: {', '.join(words[:SHOWN])}{more} (--keep-variants keeps them)")


def _report(counted: CountedKeywords, out: str, advice: str) -> None:
    """Print the coverage; warn of captions without any keyword and of keywords in most captions.

    Args:
        counted: the keywords that were written.
        out: the keyword file.
        advice: what helps where many captions hold no keyword.
    """
    total, coverage = counted.captions, counted.coverage
    print(f"{len(counted.keywords)} keywords -> {out}")
    print(
        f"coverage: {coverage:.1%} of {total} captions hold a keyword; {counted.per_caption:.2f} keywords per caption"
    )
    if coverage < LOW_COVERAGE:
        print(f"warning: {1 - coverage:.0%} of the captions hold no keyword and teach none; {advice}")
    for word in counted.keywords:
        if (share := counted.share(word)) > GENERIC:
            print(
                f"warning: {word!r} is in {share:.0%} of the captions and tells few apart; drop it, or see --stop-words"
            )
