"""Which shards a pattern names, and how many samples each holds.

A pattern is what open_clip takes for `--train-data`: braces, `::` between sources, URLs, pipes; a folder stands for its
sorted `*.tar`.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from braceexpand import UnbalancedBracesError, braceexpand
from tqdm import tqdm

from sclip_plugin.data.samples import count_samples_in
from sclip_plugin.data.tar import is_local
from sclip_plugin.errors import DataError, UsageError


@dataclass
class ShardList:
    """urls: the shards, in order. weights: one per shard (upsampling factors), or None. flag: where they came from."""

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
        DataError: an empty expansion, a missing file, a folder without tars; names flag and pattern.
        UsageError: another number of factors than sources, or factors that are not positive numbers.
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
    if is_local(source) and os.path.isdir(source):
        found = sorted(str(path) for path in Path(source).glob("*.tar"))
        if not found:
            raise DataError(f"{flag}: the folder {source} holds no *.tar")
        return found
    try:
        return list(braceexpand(source)) or [source]
    except UnbalancedBracesError:
        raise DataError(f"{flag}: unbalanced braces in {source!r}") from None


def count_samples(shards: ShardList) -> np.ndarray | None:
    """int64 (shards,): samples in each, from the `sizes.json` beside it, else counted from a local tar's headers.

    None where a shard is neither listed nor local: then nobody knows before reading.
    """
    tables: dict[str, dict] = {}
    sizes = np.full(len(shards), -1, dtype=np.int64)
    for index, url in enumerate(shards.urls):
        if not is_local(url):
            continue
        folder, name = os.path.split(url)
        if folder not in tables:
            tables[folder] = _read_sizes(folder, shards.flag)
        sizes[index] = tables[folder].get(name, -1)
    unknown = np.flatnonzero(sizes < 0)
    if any(not is_local(shards.urls[index]) for index in unknown):
        return None
    for index in tqdm(unknown, desc=f"{shards.flag}: counting samples", unit="shard", disable=None):
        sizes[index] = count_samples_in(shards.urls[index])
    return sizes


def _read_sizes(folder: str, flag: str) -> dict:
    path = os.path.join(folder, "sizes.json")
    if not os.path.isfile(path):
        return {}
    try:
        table = {str(name): int(size) for name, size in json.loads(Path(path).read_text()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{flag}: {path} is not a table of shard names and counts: {error}") from None
    if any(size < 0 for size in table.values()):
        raise DataError(f"{flag}: {path} has a negative count")
    return table
