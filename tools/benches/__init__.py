"""Benches: data sets that studies are measured on, built from packages of public registries.

Each bench is a command, `python -m tools.benches.NAME --out DIR`, with the versions of its packages pinned and the
licence of every source written down. docs/studies.md says what each bench is good for.
"""

import hashlib


def share(text: str) -> float:
    """A number in [0, 1) that the hash of a text chooses, so that a split stays as it is whatever else is added."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
