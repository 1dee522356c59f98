"""Keys of samples: what a name becomes inside shards, where a key is of ASCII letters, digits, `_` and `-`."""

import hashlib
import re
from typing import Final

_NO_KEY: Final = re.compile(r"[^A-Za-z0-9_-]+")
KEY_LENGTH = 80  # with the suffix below the 100 bytes of a plain tar header


def stem(source: str) -> str:
    """The source name without its last suffix: `a/b.c.jpg` → `a/b.c`."""
    folder, slash, name = source.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)


def plain_key(base: str) -> str:
    """A stem in letters, digits, `_` and `-`."""
    return _NO_KEY.sub("_", base)


def key(source: str, unique: bool) -> str:
    """The key of a source name, with eight digits of its hash where the plain key is empty, too long, or not unique.

    Args:
        source: the source name.
        unique: whether no other sample has this plain key, also without case.
    """
    plain = plain_key(stem(source))
    if unique and len(plain) <= KEY_LENGTH and plain.strip("_"):
        return plain
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{plain[: KEY_LENGTH - 9]}-{digest[:8]}"
