"""The schema of the scratch index: every table, column, index and SQL function of it.

File names may hold bytes that are no UTF-8, so every column that derives from a file name is stored as bytes.
"""

import hashlib
import sqlite3
from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from sclip_plugin.shards.keys import key

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

TABLES: Final = """
CREATE TABLE samples (
    id INTEGER PRIMARY KEY,
    source BLOB NOT NULL UNIQUE,         -- name within the whole set
    origin INTEGER NOT NULL,             -- number of the source that the sample was read from
    stem BLOB NOT NULL,                  -- `source` without its suffix
    wanted TEXT NOT NULL COLLATE NOCASE, -- the plain key: keys that agree in it, also without case, need a hash
    form TEXT NOT NULL,                  -- form, path, offset, length: the image's `Locator`
    path BLOB NOT NULL,
    offset INTEGER NOT NULL,
    length INTEGER NOT NULL,
    label TEXT,                          -- label, grouping, split: what the source says
    grouping TEXT,
    split TEXT,
    unit BLOB NOT NULL,                  -- what is split as a whole: the group, or the image where it has none
    captioned INTEGER NOT NULL DEFAULT 0,  -- known once the sample is usable
    size INTEGER,                        -- size, suffix, recode, fault, fingerprint: the image's `Verdict`
    suffix TEXT,
    recode TEXT,
    fault TEXT,                          -- NULL until the image has been inspected
    fingerprint BLOB,
    content BLOB,                        -- SHA-256 of the image, where another one may be equal to it
    key TEXT,
    part TEXT,                           -- paired, unpaired, val or classes; NULL where the sample is left out
    usable INTEGER NOT NULL DEFAULT 0,   -- whether the sample takes part in the split
    held INTEGER NOT NULL DEFAULT 0,     -- whether its source holds it out itself
    UNIQUE (path, offset));
CREATE INDEX samples_by_content ON samples (content) WHERE content IS NOT NULL;

CREATE TABLE captions (
    id INTEGER PRIMARY KEY, sample INTEGER NOT NULL, text TEXT NOT NULL, UNIQUE (sample, text));

-- images that share size and fingerprint with another one
CREATE TABLE maybe_equal (sample INTEGER PRIMARY KEY);

-- how many samples want a key
CREATE TABLE wanted_keys (wanted TEXT PRIMARY KEY COLLATE NOCASE, samples INTEGER NOT NULL) WITHOUT ROWID;

-- what is split: groups, and images without one, that have captions
CREATE TABLE units (
    unit BLOB PRIMARY KEY,
    place BLOB NOT NULL,                 -- position in the seeded order
    members INTEGER NOT NULL,            -- captioned samples
    free INTEGER NOT NULL,               -- whether its source holds out nothing itself
    part TEXT) WITHOUT ROWID;

-- the order of the samples within each part
CREATE TABLE places (
    part TEXT, position INTEGER, sample INTEGER NOT NULL, PRIMARY KEY (part, position)) WITHOUT ROWID;
"""


def pack(text: str) -> bytes:
    """A name that may come from the file system, as the index stores it."""
    return text.encode("utf-8", "surrogatepass")


def unpack(data: bytes) -> str:
    """Inverse of `pack`."""
    return data.decode("utf-8", "surrogatepass")


def _seeded(seed: str, salt: str, name: bytes) -> bytes:
    """The position of `name` in the order that a seed gives; orders of different `salt` are unrelated."""
    return hashlib.sha256(f"{seed}\0{salt}\0".encode() + name).digest()


def _make_key(source: bytes, alike: int) -> str:
    """The key of a source name that `alike` samples want."""
    return key(unpack(source), alike == 1)


def create(db: sqlite3.Connection, raised: list[BaseException]) -> None:
    """Give an empty database its tables, and the connection its SQL functions.

    Args:
        db: the database.
        raised: gets what the functions raise (an interruption, say): SQLite hides it behind an error of its own.
    """
    db.create_function("seeded", 3, _noting(_seeded, raised), deterministic=True)
    db.create_function("make_key", 2, _noting(_make_key, raised), deterministic=True)
    db.executescript(TABLES)


def _noting(function: Callable[Parameters, Result], raised: list[BaseException]) -> Callable[Parameters, Result]:
    """The function, which adds what it raises to `raised`."""

    @wraps(function)
    def noting(*args: Parameters.args, **keywords: Parameters.kwargs) -> Result:
        try:
            return function(*args, **keywords)
        except BaseException as error:
            raised.append(error)
            raise

    return noting
