"""The one part of the build that pyproject.toml has no words for: the README as the package index shows it.

The index shows the text alone, away from the files beside it. So relative links and pictures become absolute ones, to
the tag of this version in the repository that `project.urls` names as `Repository`. Where it names none, links become
their words and pictures are left out, for a link that leads nowhere is worse than none.
"""

import re
import sys
from pathlib import Path

from setuptools import setup

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent
RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")


def indexed(text: str, repository: str | None, version: str) -> str:
    """The README with absolute links, or without links where no repository is known."""

    def place(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        if repository is None:
            return "" if picture else words
        return f"{picture}[{words}]({repository.rstrip('/')}/{'raw' if picture else 'blob'}/{version}/{target})"

    return RELATIVE.sub(place, text)


def readme() -> str:
    """The README of this version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = (ROOT / "sclip_plugin" / "_version.py").read_text(encoding="utf-8").split('"')[1]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return indexed(text, project.get("urls", {}).get("Repository"), version)


if __name__ == "__main__":
    setup(long_description=readme(), long_description_content_type="text/markdown")
