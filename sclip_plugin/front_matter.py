"""The YAML at the top of a card (README.md), which the Hugging Face Hub and its libraries read."""

from collections.abc import Mapping

import yaml


def front_matter(fields: Mapping[str, object]) -> str:
    """The block between two lines of dashes, fields in the order given; equal fields give equal text.

    Args:
        fields: texts, numbers, and lists and dictionaries of them.
    """
    return f"---\n{yaml.safe_dump(dict(fields), sort_keys=False, allow_unicode=True, width=10**6)}---\n"


def table_cell(text: object) -> str:
    """A text as a cell of a Markdown table: on one line, without bars of its own."""
    return " ".join(str(text).split()).replace("|", "\\|")
