"""Sources of many files, each of which can be read by itself, and so elsewhere."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Protocol, runtime_checkable

from sclip_plugin.shards.engines.engine import Engine
from sclip_plugin.shards.engines.local import HERE
from sclip_plugin.shards.readers.base import Reader
from sclip_plugin.shards.readers.files import file_hash
from sclip_plugin.shards.sample import Sample, Tally


class Part(Protocol):
    """A file of a source, with all that is needed to read it; another machine gets it pickled."""

    def samples(self, tally: Tally) -> Iterator[Sample]:
        """The samples, in the order of the file; what is left out is counted in `tally`."""
        ...


@runtime_checkable
class PartedReader(Reader, Protocol):
    """A reader whose files are read, and hashed, by an engine.

    Attributes:
        in_parts: True.
        engine: does the work.
    """

    in_parts: ClassVar[bool]
    engine: Engine


class Parted:
    """What readers of many files share."""

    in_parts: ClassVar[bool] = True
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
