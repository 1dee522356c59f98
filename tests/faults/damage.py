"""What was broken, and what may follow from it."""

import random
from dataclasses import dataclass
from pathlib import Path

Rng = random.Random


@dataclass(frozen=True)
class Damage:
    """One fault that was put into the input.

    Attributes:
        what: in words.
        path: the file, relative to the input's folder; "" where nothing was broken.
        images: whether an image's bytes may be damaged behind a sound header, which only decoding finds.
        lost: how many images and captions may vanish uncounted; None where nobody can tell.
        whole: whether every caption that is written must be one of the source's.
    """

    what: str
    path: str = ""
    images: bool = False
    lost: tuple[int, int] | None = None
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.what}" if self.path else self.what


NOTHING = Damage("nothing broken", lost=(0, 0), whole=True)


def files(root: Path, *patterns: str) -> list[Path]:
    """The plain files below a folder that one of the patterns names, sorted; all without patterns."""
    found = {path for pattern in patterns or ("*",) for path in root.rglob(pattern)}
    return sorted(path for path in found if path.is_file() and not path.is_symlink())
