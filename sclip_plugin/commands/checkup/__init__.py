"""Say before any training whether S-CLIP can help here: from pairs, unpaired images and the start model.

Example:
    sclip checkup shards --model ViT-B-32-quickgelu --pretrained openai --keywords keywords.txt --batch-size 64

S-CLIP gives an unpaired image the captions of the pairs that look like it. That helps as far as these captions fit.
Each pair in turn is left out and treated as an unpaired image, and its own caption says whether the captions found for
it fit. A line from the similarity of the nearest pair to the probability that its caption fits carries this over to the
unpaired images, whose captions nobody knows. The screen shows the shares and ends with advice; the picture shows the
line, and unpaired images beside their nearest pairs.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sclip_plugin.commands.flags.evaluation import device_of
from sclip_plugin.commands.flags.numbers import MOST_WORKERS, check_positive
from sclip_plugin.commands.flags.paths import named_path
from sclip_plugin.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from sclip_plugin.commands.checkup.evidence import Evidence
    from sclip_plugin.commands.checkup.samples import Part
    from sclip_plugin.data.shard_list import ShardList

BATCH_SIZE: Final = (
    64  # pairs in a batch: the paper's 64 images a GPU on four GPUs hold 128, a small machine fewer (ours)
)
LIMIT: Final = 5000  # ours: seconds on a GPU, and enough for shares that are right to a few points
MOST: Final = 50_000  # ours: every pair is compared with every other
COMMON: Final = 0.05  # ours: a word in more of the pairs names a kind or a style, hardly the thing
PICTURE: Final = Path("checkup.png")


@dataclass(frozen=True)
class Request:
    """What the user asks of `sclip checkup`.

    Attributes:
        paired: the shards of pairs.
        unpaired: the shards of unpaired images.
        model: open_clip's name of the start model, or `local-dir:DIR`.
        pretrained: its weights, or None for its own.
        keywords: keyword file, or None.
        batch: pairs in a batch.
        limit: pairs, and unpaired images, that are encoded at most.
        common: the largest share of the pairs that may have a content word.
        language: of the stop-words.
        workers: threads that decode images.
        device: where the model runs.
        out: the picture.
        json: where the figures are written, or None.
    """

    paired: "ShardList"
    unpaired: "ShardList"
    model: str
    pretrained: str | None
    keywords: str | None
    batch: int
    limit: int
    common: float
    language: str
    workers: int
    device: str
    out: Path
    json: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sclip checkup`."""
    add = parser.add_argument
    add("shards", metavar="SHARDS", nargs="?", help="folder with paired/ and unpaired/, as sclip convert writes it")
    add("--train-data", metavar="PATTERN", help="paired shards, as in training, in place of SHARDS")
    add("--unpaired-data", metavar="PATTERN", help="unpaired shards, as in training, in place of SHARDS")
    add("--model", required=True, help="the start model: open_clip's name of it, or local-dir:DIR")
    add("--pretrained", help="checkpoint file or pretrained tag")
    add("--keywords", metavar="FILE", help="keyword file, as in training")
    add(
        "--batch-size",
        type=int,
        default=BATCH_SIZE,
        metavar="B",
        help="pairs in a batch, over all GPUs (default: %(default)s)",
    )
    add(
        "--limit",
        type=int,
        default=LIMIT,
        metavar="N",
        help="pairs, and unpaired images, that are encoded at most, as many of every shard (default: %(default)s)",
    )
    add(
        "--common",
        type=float,
        default=COMMON,
        metavar="SHARE",
        help="a word in more than this share of the pairs does not make captions fit (default: %(default)s)",
    )
    add("--language", default="en", metavar="CODE", help="of the captions, for the stop-words (default: en)")
    add("--workers", type=int, default=2, metavar="N", help="threads that decode images (default: %(default)s)")
    add("--device", help="where the model runs (default: cuda where there is one, else cpu)")
    add("--out", type=named_path, default=PICTURE, metavar="FILE", help="the picture (default: %(default)s)")
    add("--json", type=named_path, metavar="FILE", help="write the figures and the advice here")


def run(args: argparse.Namespace) -> int:
    """Read, encode, compare, advise. Returns 0."""
    request = _request(args)
    from sclip_plugin.commands.checkup.evidence import FEWEST, Question, gather
    from sclip_plugin.keywords import Vocabulary
    from sclip_plugin.shards.keywords.stop_words import stop_words

    vocabulary = Vocabulary.load(request.keywords) if request.keywords else None
    pairs, unpaired, texts = _encoded(request, vocabulary.keywords if vocabulary else [])
    if len(pairs) < FEWEST:
        raise DataError(f"{request.paired.flag}: {len(pairs)} usable pairs; a checkup needs {FEWEST} at least")
    keywords = (vocabulary, texts) if vocabulary is not None and texts is not None else None
    question = Question(request.batch, stop_words(request.language), request.common, keywords)
    _tell(request, pairs, unpaired, gather(pairs, unpaired, question))
    return 0


def _request(args: argparse.Namespace) -> Request:
    """The arguments as values.

    Raises:
        UsageError: flags exclude each other, or one has a value that cannot work.
        DataError: there are no such shards.
    """
    from sclip_plugin.evaluation.models import check_model

    _check_numbers(args)
    if args.out.suffix.lower() != ".png":
        raise UsageError(f"--out {args.out}: the name must end in .png")
    if args.json and args.json.suffix != ".json":
        raise UsageError(f"--json {args.json}: the name must end in .json")
    _check_language(args.language)
    check_model(args.model, args.pretrained)
    paired, unpaired = _shards(args)
    return Request(
        paired,
        unpaired,
        args.model,
        args.pretrained,
        args.keywords,
        args.batch_size,
        args.limit,
        args.common,
        args.language,
        args.workers,
        device_of(args),
        args.out,
        args.json,
    )


def _check_numbers(args: argparse.Namespace) -> None:
    for flag in ("batch_size", "limit", "workers"):
        check_positive(f"--{flag.replace('_', '-')}", getattr(args, flag))
    for flag, most in (("limit", MOST), ("workers", MOST_WORKERS)):
        if getattr(args, flag) > most:
            raise UsageError(f"--{flag} must be at most {most}, got {getattr(args, flag)}")
    if not 0 < args.common <= 1:
        raise UsageError(f"--common must be above 0 and at most 1, got {args.common}")


def _check_language(language: str) -> None:
    from sclip_plugin.shards.keywords.stop_words import languages

    if language not in languages():
        raise UsageError(f"--language: no stop-word list for {language!r}; there are: {', '.join(languages())}")


def _shards(args: argparse.Namespace) -> "tuple[ShardList, ShardList]":
    """The shards of pairs and of unpaired images.

    Raises:
        UsageError: neither or both of the ways to name them are used.
        DataError: there are no such shards.
    """
    from sclip_plugin.data.shard_list import expand
    from sclip_plugin.shards import layout
    from sclip_plugin.storage.location import location

    patterns = {"--train-data": args.train_data, "--unpaired-data": args.unpaired_data}
    if args.shards is not None:
        for flag, pattern in patterns.items():
            if pattern is not None:
                raise UsageError(f"SHARDS and {flag} exclude each other")
        root = location(args.shards)
        for part in (layout.PAIRED, layout.UNPAIRED):
            if not (root / part).is_dir():
                raise DataError(f"SHARDS {root}: no folder {part}/ there; see --train-data and --unpaired-data")
        return expand(str(root / layout.PAIRED), "SHARDS"), expand(str(root / layout.UNPAIRED), "SHARDS")
    for flag, pattern in patterns.items():
        if pattern is None:
            raise UsageError(f"{flag} is missing: pass SHARDS, or --train-data and --unpaired-data")
    return expand(args.train_data, "--train-data"), expand(args.unpaired_data, "--unpaired-data")


def _encoded(request: Request, keywords: list[str]) -> "tuple[Part, Part, Tensor | None]":
    """The pairs, the unpaired images and the keywords, encoded; None without any keyword."""
    from sclip_plugin.commands.checkup.samples import FORWARD, read_part
    from sclip_plugin.evaluation.features import Encoder
    from sclip_plugin.evaluation.models import load_model

    model, preprocess, tokenizer = load_model(request.model, request.pretrained, request.device, "fp32")
    encoder = Encoder(model, tokenizer, request.device)
    pairs = read_part(request.paired, request.limit, True, encoder, preprocess, request.workers)
    unpaired = read_part(request.unpaired, request.limit, False, encoder, preprocess, request.workers)
    texts = encoder.texts_in_batches(keywords, FORWARD).cpu() if keywords else None
    return pairs, unpaired, texts


def _tell(request: Request, pairs: "Part", unpaired: "Part", evidence: "Evidence") -> None:
    """Write the files, then print the screen."""
    from sclip_plugin.atomic import write_atomic
    from sclip_plugin.commands.checkup import picture, screen
    from sclip_plugin.commands.checkup.recommendation import recommend

    advice = recommend(evidence)
    written = [request.out]
    model = request.model if request.pretrained is None else f"{request.model}, {request.pretrained}"
    result = screen.Result(model, pairs, unpaired, evidence, advice)
    write_atomic(request.out, picture.draw(evidence.nearness, pairs.pictures, unpaired.pictures, advice.headline))
    if request.json:
        write_atomic(request.json, screen.report(result))
        written.append(request.json)
    for line in screen.lines(result):
        print(line)
    for path in written:
        print(f"-> {path}")
