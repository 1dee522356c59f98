"""One shard as work that can be done anywhere: what it needs, and the writing of its file.

A shard appears under its name only when it is whole. Then a small file with its statistics, its mark, is written to
`.progress/`: it says that the shard need not be written again.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from sclip_plugin.decoding import ImageFault
from sclip_plugin.errors import DataError
from sclip_plugin.shards import layout
from sclip_plugin.shards.conversion.plan import Job
from sclip_plugin.shards.conversion.split import SAME_BYTES
from sclip_plugin.shards.images import Transform, encode
from sclip_plugin.shards.manifest import ShardStatistics, is_shard_statistics, read_json
from sclip_plugin.shards.readers.files import file_hash
from sclip_plugin.shards.sample import Sample
from sclip_plugin.shards.tar_writer import END, member
from sclip_plugin.storage.location import Location
from sclip_plugin.storage.outputs import whole_file

BLOCK: Final = 1 << 18  # bytes that are hashed and written at once (ours): larger ones leave the processor's cache


@dataclass(frozen=True)
class ShardTask:
    """A shard that is to be written, with all that its bytes depend on.

    Attributes:
        path: of the shard.
        mark: of the file that says that the shard is finished.
        job: which samples are in it.
        samples: these, in order; they are read once.
        transform: what is done to the images.
        classes: {name of a class: its number}.
        trained: keys of samples that are left out and counted, because their images are in training too.
        begun: whether an earlier run left a mark.
        progress: is called with 1 after each sample.
    """

    path: Location
    mark: Location
    job: Job
    samples: Iterable[Sample]
    transform: Transform
    classes: Mapping[str, int]
    trained: Collection[str] = ()
    begun: bool = False
    progress: Callable[[int], object] | None = None


def do(task: ShardTask) -> ShardStatistics:
    """Write a shard and its mark, unless an earlier run finished it; returns its statistics.

    Raises:
        DataError: as `write_shard`.
    """
    done = _finished(task.path, task.mark) if task.begun else None
    if done is None:
        done = write_shard(task)
        layout.write_json(task.mark, done)
    elif task.progress:
        task.progress(task.job.stop - task.job.first)
    return done


def _finished(shard: Location, mark: Location) -> ShardStatistics | None:
    """The statistics of a shard that is complete, None of another. One in a store is read, and its hash compared."""
    done = read_json(mark)
    try:
        if not is_shard_statistics(done) or shard.stat().st_size != done["bytes"]:
            return None
        return done if isinstance(shard, Path) or file_hash(str(shard)) == done["sha256"] else None
    except OSError:
        return None


def write_shard(task: ShardTask) -> ShardStatistics:
    """Write one shard under another name, sync it to the disk, and rename it.

    Raises:
        DataError: an image that could be read a moment ago no longer can, or the shard cannot be written (a full disk,
            say); nothing of it is left then.
    """
    with whole_file(task.path) as file:
        statistics = _write(task, file)
    if isinstance(task.path, Path):
        _sync_folder(task.path.parent)
    return statistics


def _write(task: ShardTask, file: BinaryIO) -> ShardStatistics:
    """Write the samples of a shard and the end of its tar."""
    counts, sink = _ShardCounts(), _HashingFile(file)
    for sample in task.samples:
        if sample.key in task.trained:
            counts.skip(SAME_BYTES, sample)
        else:
            sink.write(_members(sample, task, counts))
        if task.progress:
            task.progress(1)
    sink.write([END])
    sink.flush()
    return counts.statistics(sink)


def _members(sample: Sample, task: ShardTask, counts: "_ShardCounts") -> list[bytes]:
    """The sample as pieces of a tar, none where its image does not decode; counts it."""
    try:
        data = sample.image.read()
        if sample.recode:
            data = encode(data, sample.suffix, task.transform)
            counts.recoded[sample.recode] += 1
    except ImageFault as fault:
        counts.skip(str(fault), sample)
        return []
    except OSError as error:
        raise DataError(f"{sample.source}: {error.strerror or error}") from None
    pieces = member(f"{sample.key}.{sample.suffix}", data)
    for suffix, content in layout.members(sample, task.job.kind, task.classes):
        pieces += member(f"{sample.key}.{suffix}", content)
    counts.samples += 1
    counts.captions += len(sample.captions)
    return pieces


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _HashingFile:
    """A file that gathers what is written to it in blocks, and knows the SHA-256 and the length of those written."""

    def __init__(self, file: BinaryIO):
        self.file, self.hash, self.length = file, hashlib.sha256(), 0
        self._waiting, self._waiting_length = list[bytes](), 0

    def write(self, pieces: list[bytes]) -> None:
        self._waiting += pieces
        self._waiting_length += sum(map(len, pieces))
        if self._waiting_length >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Hash and write what was gathered."""
        block = b"".join(self._waiting)
        self.hash.update(block)
        self.length += len(block)
        self.file.write(block)
        self._waiting, self._waiting_length = [], 0


class _ShardCounts:
    """What was written to a shard so far, and what was not."""

    def __init__(self) -> None:
        self.samples = self.captions = self.skipped_captions = 0
        self.recoded: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()

    def skip(self, reason: str, sample: Sample) -> None:
        """Count a sample that is left out."""
        self.skipped[reason] += 1
        self.skipped_captions += len(sample.captions)

    def statistics(self, sink: _HashingFile) -> ShardStatistics:
        """The statistics of the shard, which is complete."""
        return {
            "samples": self.samples,
            "captions": self.captions,
            "recoded": dict(self.recoded),
            "skipped": dict(self.skipped),
            "skipped_captions": self.skipped_captions,
            "bytes": sink.length,
            "sha256": sink.hash.hexdigest(),
        }
