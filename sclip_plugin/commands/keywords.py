"""Keywords out of the captions of paired shards, for --keywords.

    sclip keywords shards/paired --out keywords.txt --top 100
    sclip keywords shards/paired --out keywords.txt --method classes --recipe rsicd
    sclip keywords shards/paired --out keywords.txt --prune --model ViT-B-32-quickgelu --pretrained openai

Methods: yake (the paper's), frequency (phrases in most captions), tfidf (in many, but not in all), nouns (noun
phrases; needs an extra), classes (class names of a recipe or a classnames.txt), classes+yake (class names, then YAKE's
phrases up to --top in all), embedding (nearest in meaning to the captions, by a CLIP text tower). The file has one
keyword a line, best first, with the number of captions it occurs in as a comment; the command prints how many captions
hold at least one. Captions are read as a stream; memory does not grow with them.

--prune asks the pairs and the start model which of 3 x --top proposals may help: words of style, words that tell
nothing apart, parts of longer keywords and words for the same pairs are dropped, each with its reason.
"""

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from typing import TYPE_CHECKING

from sclip_plugin.commands.flags.engine import (
    LOCAL,
    add_engine_arguments,
    add_workers_argument,
    check_engine,
    open_engine,
    seen,
)
from sclip_plugin.data.shard_list import ShardList, expand
from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.evaluation.models import check_model
from sclip_plugin.keywords import read_lines
from sclip_plugin.shards.engines.engine import Engine
from sclip_plugin.shards.engines.local import HERE, Processes
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
    dropped_text,
    file_text,
    flags_of_names,
    flags_of_pruning,
    origin_of_classes,
    origin_of_phrases,
)
from sclip_plugin.shards.keywords.phrases import METHODS, PhraseOptions
from sclip_plugin.shards.keywords.stop_words import languages, split_words
from sclip_plugin.shards.keywords.variants import distinct_names
from sclip_plugin.shards.recipes import recipe as recipes
from sclip_plugin.storage.outputs import writable, write

if TYPE_CHECKING:  # torch is imported only where a model is asked for
    from sclip_plugin.shards.keywords.pair_features import PairFeatures
    from sclip_plugin.shards.keywords.pruning import Pruned

CLASSES, CLASSES_YAKE = "classes", "classes+yake"
# the flags that take a number, and what they are where they are not given
DEFAULTS = {
    "top": ExtractionOptions.top,
    "max_words": PhraseOptions.max_words,
    "min_count": ExtractionOptions.min_count,
}
# the flags that mean nothing to --method classes
OF_PHRASES = ("top", "max_words", "min_count", "language", "workers", "stop_words", "keep_variants")
LOW_COVERAGE, GENERIC = 0.5, 0.5  # shares of the captions below and above which a warning is printed (ours)
PROPOSALS = 3  # phrases that --prune chooses from, as a multiple of --top (ours)
SHOWN = 5  # near-duplicates that are named


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `sclip keywords`."""
    add = parser.add_argument
    add("shards", nargs="?", metavar="SHARDS", help="folder, pattern or URL of paired shards (classes: optional)")
    add("--out", required=True, metavar="FILE", help="keyword file to write, by path or URL")
    methods = (*METHODS, CLASSES, CLASSES_YAKE, EMBEDDING)
    add("--method", choices=methods, default=ExtractionOptions.method, help="default: yake")
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
        help="for classes and classes+yake: recipe that names them; repeatable",
    )
    add("--classes", metavar="FILE", help="for classes and classes+yake: file of class names, one a line")
    add("--prune", action="store_true", help="drop keywords that do not help, as pairs and start model show it")
    add("--model", help="for embedding and --prune: open_clip's model name, or local-dir:DIR")
    add("--pretrained", help="for embedding and --prune: checkpoint file or pretrained tag")
    add("--device", default="cpu", help="for embedding and --prune: where the model runs (default: cpu)")
    add_workers_argument(parser, "for yake: processes")
    add_engine_arguments(parser)


def run(args: Namespace) -> None:
    """Write the keyword file; print coverage and warnings."""
    _check_combination(args)
    names = _class_names(args) if args.method in (CLASSES, CLASSES_YAKE) else []
    if args.method == CLASSES:
        _write_classes(args, names)
    else:
        with open_engine(args, Processes) as engine:
            _write_phrases(args, names, _options(args, engine), engine)


def _write_classes(args: Namespace, names: list[str]) -> None:
    origin = origin_of_classes(args.recipe, args.classes)
    if not args.shards:
        write(writable(args.out, "--out"), file_text(origin, names))
        print(f"{len(names)} keywords -> {args.out}")
        return
    shards = expand(args.shards, "SHARDS")
    with spooled(shards.urls, args.shards) as captions:
        _tell_skipped(captions)
        counted = count(names, captions)
        pruned = _pruned(args, shards, counted, len(names), None) if args.prune else None
        counted = counted if pruned is None else count(pruned.kept, captions)
    _write(args, origin, counted, pruned, "the captions use other words; see the other methods")


def _write_phrases(args: Namespace, names: list[str], options: ExtractionOptions, engine: Engine) -> None:
    if names and len(names) >= options.top:
        raise UsageError(f"--top {options.top} leaves no room for phrases beside {len(names)} class names")
    shards = expand(args.shards, "SHARDS")
    urls = [url if url.startswith("pipe:") else seen(args, url) for url in shards.urls]
    engine.check(urls[:1])
    with spooled(urls, args.shards, engine if engine.remote else HERE) as captions:
        _tell_skipped(captions)
        _tell_encoded(captions, options)
        wanted = replace(options, top=PROPOSALS * options.top) if args.prune else options
        counted = extract(captions, wanted, args.shards, names)
        pruned = _pruned(args, shards, counted, len(names), options.top) if args.prune else None
        left_out = counted.left_out
        counted = counted if pruned is None else count(pruned.kept, captions)
    _tell_left_out(left_out)
    origin = origin_of_phrases(options, args.method) + flags_of_names(args.recipe, args.classes)
    _write(args, origin, counted, pruned, "raise --top")


def _pruned(args: Namespace, shards: ShardList, counted: CountedKeywords, names: int, top: int | None) -> "Pruned":
    """What pruning makes of the counted proposals, the first of which are names; prints it.

    Raises:
        DataError: no pair can be used, the model does not load, or no proposal is left.
    """
    from sclip_plugin.evaluation.features import Encoder
    from sclip_plugin.evaluation.models import load_model
    from sclip_plugin.keywords import Vocabulary
    from sclip_plugin.shards.keywords.evidence import evidence
    from sclip_plugin.shards.keywords.pair_features import pair_features
    from sclip_plugin.shards.keywords.pruning import prune

    model, preprocess, tokenizer = load_model(args.model, args.pretrained, args.device, "fp32")
    encoder = Encoder(model, tokenizer, args.device)
    pairs = pair_features(shards, encoder, preprocess)
    _tell_looked_at(pairs)
    texts = encoder.texts_in_batches(list(counted.keywords), embedding.BATCH).cpu()
    found = evidence(Vocabulary(counted.keywords), pairs.captions, pairs.images, texts)
    pruned = prune(counted.keywords, counted.frequency, found, names, top)
    _tell_pruned(pruned)
    if not pruned.kept:
        raise DataError(f"{args.shards}: --prune drops all {len(pruned.dropped)} proposals")
    return pruned


def _write(args: Namespace, origin: str, counted: CountedKeywords, pruned: "Pruned | None", advice: str) -> None:
    if pruned is None:
        text = counted_file_text(origin, counted)
    else:
        text = counted_file_text(origin + flags_of_pruning(args.model, args.pretrained), counted)
        text += dropped_text(pruned.dropped)
    write(writable(args.out, "--out"), text)
    _report(counted, args.out, advice)


def _check_combination(args: Namespace) -> None:
    """Refuse flags that would have no effect, and arguments that are missing.

    Raises:
        UsageError: names the flag.
        DataError: the model's folder lacks its files.
    """
    if args.method == CLASSES:
        for flag in OF_PHRASES:
            if getattr(args, flag) is not None and getattr(args, flag) is not False:
                raise UsageError(f"{_written(flag)} has no effect on --method classes, which takes every name")
        if args.engine != LOCAL:
            raise UsageError("--engine has no effect on --method classes, which ranks nothing")
    check_engine(args)
    for flag in ("recipe", "classes"):
        if getattr(args, flag) and args.method not in (CLASSES, CLASSES_YAKE):
            raise UsageError(f"--{flag} needs --method {CLASSES} or {CLASSES_YAKE}")
    if args.method in (CLASSES, CLASSES_YAKE) and bool(args.recipe) == bool(args.classes):
        raise UsageError(f"--method {args.method} takes its names from --recipe NAME or from --classes FILE")
    if not args.shards and (args.method != CLASSES or args.prune):
        raise UsageError("SHARDS is missing" + (", whose pairs --prune looks at" if args.prune else ""))
    writable(args.out, "--out")
    _check_model(args)


def _check_model(args: Namespace) -> None:
    """Refuse a model that nobody asks, and a missing one.

    Raises:
        UsageError: names the flag.
        DataError: the model's folder lacks its files.
    """
    asks = "--prune" if args.prune else f"--method {EMBEDDING}" if args.method == EMBEDDING else None
    for flag in ("model", "pretrained"):
        if getattr(args, flag) and asks is None:
            raise UsageError(f"--{flag} needs --method {EMBEDDING} or --prune")
    if asks is not None:
        if not args.model:
            raise UsageError(f"{asks} needs --model")
        check_model(args.model, args.pretrained)


def _options(args: Namespace, engine: Engine) -> ExtractionOptions:
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
    phrases = PhraseOptions(number["max_words"], language, split_words(stop), engine)
    tower = TextTower(args.model, args.pretrained, args.device) if args.method == EMBEDDING else None
    method = "yake" if args.method == CLASSES_YAKE else args.method
    return ExtractionOptions(method, number["top"], number["min_count"], args.keep_variants, phrases, tower)


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


def _tell_looked_at(pairs: "PairFeatures") -> None:
    looked_at = len(pairs.captions) + sum(pairs.skipped.values())
    spaced = ", evenly spaced" if looked_at < pairs.samples else ""
    print(f"{len(pairs.captions)} of {pairs.samples} pairs are looked at{spaced}")
    for reason, number in sorted(pairs.skipped.items()):
        print(f"pairs skipped: {number} ({reason})")


def _tell_pruned(pruned: "Pruned") -> None:
    kept, dropped = len(pruned.kept), len(pruned.dropped)
    print(f"{kept + dropped} proposals: {kept} kept, {dropped} dropped")
    for reason, found in pruned.by_reason():
        listed = ", ".join(f"{one.keyword} ({one.detail})" if one.detail else one.keyword for one in found)
        print(f"dropped, {reason} ({len(found)}): {listed}")


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
