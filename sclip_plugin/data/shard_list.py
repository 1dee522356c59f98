"""Which shards a pattern names, and how many samples each holds.

A pattern is what open_clip takes for `--train-data`: braces, `::` between sources, URLs, pipes; a folder, local or in a
store, stands for its sorted `*.tar`. No shard of a store is asked about by itself: a folder is listed, and the names
that braces give are taken as they are.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from braceexpand import braceexpand
from tqdm import tqdm

from sclip_plugin.data.samples import count_samples_in
from sclip_plugin.data.tar import is_local
from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.storage import objects
from sclip_plugin.storage.urls import PIPE, WEB, filesystem, is_url, join, plain, scheme

SIZES = "sizes.json"  # open_clip's table {shard name: samples}, beside the shards
_SHARD = re.compile(r"\.(tar|tgz)(\.\w+)?(\?.*)?$", re.IGNORECASE)  # at the end of a URL that names a shard
MOST_SAMPLES = 10**12  # that a shard may be said to hold; their sum over many shards fits 64 bits


@dataclass(frozen=True)
class ShardList:
    """The shards that a pattern names.

    Attributes:
        urls: paths, URLs or pipes, in order.
        weights: (shards,) upsampling factor of each; None: they are drawn equally often.
        flag: the option that named them, for messages.
        pattern: what the option said.
    """

    urls: list[str]
    weights: np.ndarray | None
    flag: str
    pattern: str

    def __len__(self) -> int:
        return len(self.urls)


def expand(pattern: str, flag: str, factors: str | None = None, factors_flag: str = "") -> ShardList:
    """The shards that `pattern` names.

    Args:
        flag: the option's name, for messages.
        factors: one number per `::` source (`2::1`), given to each of its shards.

    Raises:
        DataError: an empty expansion, a missing file, a folder without tars, a store that cannot be read; names flag
            and pattern.
        UsageError: another number of factors than sources, factors that are not positive numbers, or a store whose
            package is not installed.
    """
    sources = [_expand_source(source, flag) for source in pattern.split("::")]
    urls = [url for source in sources for url in source]
    for url in urls:
        if is_local(url) and not os.path.isfile(url):
            raise DataError(f"{flag}: no such shard: {url} (from {pattern!r})")
    weights = None
    if factors is not None:
        values = _parse_factors(factors, factors_flag)
        if len(values) != len(sources):
            raise UsageError(f"{factors_flag} has {len(values)} numbers but {flag} has {len(sources)} sources")
        weights = np.concatenate([np.full(len(source), value) for source, value in zip(sources, values)])
    return ShardList(urls, weights, flag, pattern)


def _parse_factors(factors: str, flag: str) -> list[float]:
    try:
        values = [float(part) for part in factors.split("::")]
    except ValueError:
        raise UsageError(f"{flag} must be numbers separated by ::, got {factors!r}") from None
    if any(not (0 < value < float("inf")) for value in values):
        raise UsageError(f"{flag} must be numbers > 0, got {factors!r}")
    return values


def _expand_source(source: str, flag: str) -> list[str]:
    if not source.strip():
        raise DataError(f"{flag}: an empty pattern names no shard")
    source = plain(source)
    if is_local(source) and os.path.isdir(source):
        return _tars(source, [str(path) for path in Path(source).glob("*.tar")], flag)
    try:
        named = list(braceexpand(source)) or [source]
    except ValueError:  # braceexpand's error for unbalanced braces derives from it
        raise DataError(f"{flag}: unbalanced braces in {source!r}") from None
    for url in {scheme(url): url for url in named if is_url(url)}.values():
        filesystem(url)  # whether its package is there
    return [shard for url in named for shard in (_listed(url, flag) if _may_be_folder(url) else [url])]


def _may_be_folder(url: str) -> bool:
    """Whether a URL must be looked at to tell what it names. A server of the web is asked only about `https://…/`."""
    if not is_url(url) or _SHARD.search(url):
        return False
    return url.endswith("/") or scheme(url) not in WEB


def _listed(url: str, flag: str) -> list[str]:
    """The tars in a folder of a store; the URL itself where it is an object."""
    try:
        found = objects.listed(url)
    except NotADirectoryError:
        return [url]
    except OSError as error:
        raise DataError(f"{flag}: {error}") from None
    return _tars(url, [join(url, one.name) for one in found if one.name.endswith(".tar") and not one.folder], flag)


def _tars(folder: str, found: list[str], flag: str) -> list[str]:
    """The tars in a folder, sorted.

    Raises:
        DataError: there is none.
    """
    if not found:
        raise DataError(f"{flag}: the folder {folder} holds no *.tar")
    return sorted(found)


@dataclass(frozen=True)
class ShardSet:
    """One data set: its shards, and how many samples they hold.

    Attributes:
        shards: the shards.
        sizes: int64 (shards,), the samples in each; None where nobody knows before reading.
        num_samples: how many samples count as the set, where the user says so.
        unknown: why `sizes` is None, for messages.
    """

    shards: ShardList
    sizes: np.ndarray | None
    num_samples: int | None = None
    unknown: str = ""

    @property
    def total(self) -> int | None:
        """Samples in the set, as far as they are known."""
        return self.num_samples if self.sizes is None else int(self.sizes.sum())

    @classmethod
    def of(cls, shards: ShardList, num_samples: int | None = None) -> "ShardSet":
        """The set of these shards, with their sizes looked up.

        Raises:
            DataError: a `sizes.json` that is no table of counts.
        """
        sizes, unknown = look_up_sizes(shards)
        return cls(shards, sizes, num_samples, unknown)


def count_samples(shards: ShardList) -> np.ndarray | None:
    """`look_up_sizes` without the reason: int64 (shards,), or None."""
    return look_up_sizes(shards)[0]


def look_up_sizes(shards: ShardList) -> tuple[np.ndarray | None, str]:
    """Samples in each shard, int64 (shards,), and "".

    They come from the `sizes.json` beside the shards, local or remote. A local shard that it does not list is counted
    by its headers.

    Returns:
        (None, reason) where a remote shard's size is not known.

    Raises:
        DataError: a `sizes.json` that is no table of counts, or a store that does not answer.
    """
    tables: dict[str, dict[str, int]] = {}
    sizes = np.full(len(shards), -1, dtype=np.int64)
    reason = ""
    for index, url in enumerate(shards.urls):
        if url.startswith(PIPE):
            return None, f"{url!r} is a pipe, beside which there is no sizes.json"
        folder, _, name = url.rpartition("/")
        if folder not in tables:
            tables[folder], why = _read_sizes(folder, url, shards.flag)
            reason = reason or why
        sizes[index] = tables[folder].get(name, -1)
        if sizes[index] < 0 and not is_local(url):
            return None, reason or f"{folder}/{SIZES} does not list {name}"
    unknown = np.flatnonzero(sizes < 0)
    for index in tqdm(unknown, desc=f"{shards.flag}: counting samples", unit="shard", disable=None):
        sizes[index] = count_samples_in(shards.urls[index])
    return sizes, ""


def _read_sizes(folder: str, url: str, flag: str) -> tuple[dict[str, int], str]:
    """The table beside a shard; ({}, reason) where there is none."""
    path = f"{folder}/{SIZES}" if folder or not is_local(url) else SIZES
    try:
        text = Path(path).read_bytes() if is_local(url) else objects.read(path)
    except FileNotFoundError:
        return {}, f"there is no {path}"
    except OSError as error:
        if is_local(url):
            raise DataError(f"{flag}: {path}: {error.strerror or error}") from None
        return {}, f"{path} cannot be read ({error})"
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{flag}: {path} is not a table of shard names and counts: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{flag}: {path} is not a table of shard names and counts: {found!r:.60}")
    return {name: _size(name, value, f"{flag}: {path}") for name, value in found.items()}, ""


def _size(name: str, value: object, table: str) -> int:
    """A count of samples; open_clip takes digits in quotes too."""
    if isinstance(value, str) and value.isdecimal() and len(value) <= len(str(MOST_SAMPLES)):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise DataError(f"{table} is not a table of shard names and counts: {name} has {value!r:.60}")
    if not 0 <= value <= MOST_SAMPLES:
        raise DataError(f"{table} has {'a negative' if value < 0 else 'an impossible'} count: {name} has {value}")
    return value
