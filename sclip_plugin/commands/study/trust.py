"""Study files run commands: one from elsewhere runs only where its user has said that they trust it.

What comes with the package is trusted. Any other file's commands are shown, and `--trust` is asked for; its content
and that of its bases is then noted in the study's folder, so that the same files are not asked for again.
"""

import hashlib
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sclip_plugin.atomic import write_atomic
from sclip_plugin.commands.study.spec import Study, locate, shipped
from sclip_plugin.commands.study.values import Flag
from sclip_plugin.errors import UsageError
from sclip_plugin.toml import load_toml

TRUSTED: Final = "trusted.json"  # in the study's folder: the contents that were trusted for it
PIPE: Final = "pipe:"  # shards that a shell command writes


def require_trust(study: Study, out: Path, base: str | None, trust: bool) -> None:
    """Refuse a study that is not trusted; its commands are printed then.

    Args:
        study: a study as it was read.
        out: its folder.
        base: what was read in place of the file's own base, if anything.
        trust: whether the user trusts it; this is noted.

    Raises:
        UsageError: it does not come with the package, and was not trusted before.
    """
    files = sources(study.source, base)
    if all(file.resolve() in _shipped() for file in files):
        return
    content = hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()
    known = _trusted(out)
    if content in known:
        return
    if trust:
        write_atomic(out / TRUSTED, json.dumps([*known, content], indent=1) + "\n")
        return
    print(f"{study.source} would run these commands, and training and evaluation:")
    for command in commands(study):
        print(f"$ {_visible(command)}")
    raise UsageError(
        f"{study.source}: this study does not come with the package, and study files run commands; "
        "read the ones above, then pass --trust"
    )


def sources(path: Path, base: str | None = None) -> list[Path]:
    """The files that a study is read from: its own, the one it stands on, and so on. They can all be read."""
    found = [path]
    below = base or load_toml(path).get("base")
    while below:
        found.append(locate(below, found[-1].parent))
        below = load_toml(found[-1]).get("base")
    return found


def commands(study: Study) -> Iterator[str]:
    """What a study runs beside training and evaluation: its preparation, and shards that commands write."""
    for one in study.prepare:
        yield shlex.join(one.command)
    flags = [value for arm in study.arms.values() for value in arm.flags.values()]
    yield from dict.fromkeys(text for value in flags for text in _texts(value) if PIPE in text)


def _texts(value: Flag) -> list[str]:
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]


def _visible(text: str) -> str:
    """The text with its control characters spelt out, so that none of it is hidden from a reader."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _shipped() -> set[Path]:
    return {path.resolve() for path in shipped().values()}


def _trusted(out: Path) -> list[str]:
    try:
        found = json.loads((out / TRUSTED).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return []
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []
