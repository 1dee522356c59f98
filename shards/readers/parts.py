"""Sources of many files, each of which can be read by itself, and so elsewhere."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from sclip_plugin.shards.engines.engine import Engine
from sclip_plugin.shards.engines.local import HERE
from sclip_plugin.shards.readers.files import file_hash
from sclip_plugin.shards.sample import Sample, Tally


class Part(Protocol):
    """A file of a source, with all that is needed to read it; another machine gets it pickled."""

    def samples(self, tally: Tally) -> Iterator[Sample]:
        """The samples, in the order of the file; what is left out is counted in `tally`."""
        ...


class Parted:
    """What readers share whose files are read, and hashed, by an engine.

    Attributes:
        engine: does the work.
    """

    engine: Engine = HERE

    def hashes(self, paths: Sequence[str]) -> list[str]:
        """The SHA-256 of each file."""
        return list(self.engine.map(file_hash, paths))

    def read(self, parts: Sequence[Part], tally: Tally) -> Iterator[Sample]:
        """The samples of all parts, in order. Other machines give those of a file at once."""
        if not self.engine.remote:
            for part in parts:
                yield from part.samples(tally)
            return
        for samples, found in self.engine.map(_read, parts):
            tally.add(found)
            yield from samples


def _read(part: Part) -> tuple[list[Sample], Tally]:
    tally = Tally()
    return list(part.samples(tally)), tally
