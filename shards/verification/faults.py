"""What is wrong with shards: single faults, and a count of each kind with the first places."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

SHOWN = 5  # places kept for each kind of fault


class Fault(NamedTuple):
    """Something that is wrong in one place.

    Attributes:
        kind: what is wrong, in words; faults with equal words are counted together.
        place: the file, and in it the key or the member.
    """

    kind: str
    place: str


class Faults:
    """How often each kind of fault was found, and where first.

    Attributes:
        counts: {kind: how many}, in the order in which the kinds were found.
        places: {kind: its first `SHOWN` places}.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.places: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, faults: Iterable[Fault]) -> None:
        """Count some more."""
        for kind, place in faults:
            self.counts[kind] += 1
            if len(self.places[kind]) < SHOWN:
                self.places[kind].append(place)
