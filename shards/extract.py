"""Keywords out of the captions of paired shards, for --keywords.

    sclip keywords shards/paired --out keywords.txt --top 100

Writes one keyword a line with the number of captions it occurs in as a comment, best first, and prints how many
captions hold at least one. Captions are read as a stream; memory does not grow with their number.
"""

import json
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sclip_plugin.atomic import write_atomic
from sclip_plugin.data.shardlist import expand, is_local
from sclip_plugin.data.tarstream import split_key
from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.keywords import Vocabulary
from sclip_plugin.shards.candidates import METHODS, languages
from sclip_plugin.shards.readers.base import clean_caption

SPARE = 3  # candidates ranked per keyword wanted: some do not occur as whole words
LOW_COVERAGE, GENERIC = 0.5, 0.5


def add_arguments(parser) -> None:
    parser.add_argument("shards", metavar="SHARDS", help="folder, brace pattern or URL of paired shards")
    parser.add_argument("--out", required=True, metavar="FILE", help="keyword file to write")
    parser.add_argument("--method", choices=tuple(METHODS), default="yake", help="yake: the paper's; frequency: counts")
    parser.add_argument("--top", type=int, default=100, metavar="K", help="keywords wanted (the paper: 50 to 300)")
    parser.add_argument("--max-words", type=int, default=2, metavar="N", help="longest phrase")
    parser.add_argument("--language", default="en", help="of the stop-word list, two letters")


def run(args) -> None:
    for flag in ("top", "max_words"):
        if getattr(args, flag) < 1:
            raise UsageError(f"--{flag.replace('_', '-')} must be at least 1, got {getattr(args, flag)}")
    if args.language not in languages():
        raise UsageError(f"--language: no stop-word list for {args.language!r}; there are: {', '.join(languages())}")
    shards = expand(args.shards, "SHARDS")
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as spool:
        total = _spool(shards.urls, spool)
        if not total:
            raise DataError(f"{args.shards}: no captions in {len(shards)} shards (neither KEY.json nor KEY.txt)")
        ranked = METHODS[args.method](_lines(spool, total, "ranking"), SPARE * args.top, args.max_words, args.language)
        if not ranked:
            raise DataError(f"{args.shards}: --method {args.method} finds no keyword in {total} captions")
        frequency = _frequencies(Vocabulary(ranked), _lines(spool, total, "counting"))
        kept = [word for word in ranked if frequency[word]][: args.top]
        if not kept:
            raise DataError(f"{args.shards}: no candidate keyword occurs in the captions as whole words")
        matches = _matches(Vocabulary(kept), _lines(spool, total, "coverage"))
    write_atomic(Path(args.out), _file(args, kept, frequency, total))
    _report(args.out, kept, frequency, matches)


def read_captions(url: str) -> Iterator[str]:
    """The captions of one shard: KEY.json's, else KEY.txt; images are passed over.

    Raises:
        DataError: a shard that cannot be read to its end.
    """
    try:
        with _open(url) as tar:
            key, found = None, {}
            for member in tar:
                tar.members = []  # tarfile keeps every header otherwise
                stem, suffix = split_key(member.name) if member.isfile() else (None, "")
                if stem != key:
                    yield from _captions(found)
                    key, found = stem, {}
                if suffix in ("json", "txt"):
                    found[suffix] = tar.extractfile(member).read()
            yield from _captions(found)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{url}: {error}") from None


def _open(url: str) -> tarfile.TarFile:
    if is_local(url):
        return tarfile.open(url)
    from webdataset.gopen import gopen

    return tarfile.open(fileobj=gopen(url), mode="r|*")


def _captions(found: dict[str, bytes]) -> list[str]:
    """Captions of one sample, without the empty ones."""
    captions = None
    with suppress(KeyError, ValueError, AttributeError):
        captions = json.loads(found["json"]).get("captions")
    if not isinstance(captions, list) or not captions:
        captions = [found.get("txt", b"").decode("utf-8", "replace")]
    return [text for caption in captions if isinstance(caption, str) and (text := clean_caption(caption))]


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


def _file(args, kept: list[str], frequency: dict[str, int], total: int) -> str:
    header = (
        f"# sclip keywords --method {args.method} --top {args.top} "
        f"--max-words {args.max_words} --language {args.language}\n"
        f"# {len(kept)} keywords out of {total} captions; behind each, the number of captions that hold it\n"
    )
    return header + "".join(f"{word}\t# {frequency[word]}\n" for word in kept)


def _report(out: str, kept: list[str], frequency: dict[str, int], matches: np.ndarray) -> None:
    """Print coverage; warn of keywords that say too little."""
    total = int(matches.sum())
    coverage = 1 - matches[0] / total
    mean = float(matches @ np.arange(len(matches))) / total
    print(f"{len(kept)} keywords -> {out}")
    print(f"coverage: {coverage:.1%} of {total} captions hold a keyword; {mean:.2f} keywords per caption")
    if coverage < LOW_COVERAGE:
        print(f"warning: {1 - coverage:.0%} of the captions hold no keyword and teach none; raise --top")
    for word in kept:
        if frequency[word] > GENERIC * total:
            print(f"warning: {word!r} is in {frequency[word] / total:.0%} of the captions and tells few apart; drop it")
