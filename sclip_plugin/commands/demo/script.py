"""How the scripts of the demo and the studies end, which are run as modules."""

import sys
from collections import Counter
from collections.abc import Callable

from sclip_plugin.errors import SClipError


def run(name: str, work: Callable[[], Counter[str]]) -> int:
    """The exit status of a script: 0, or 1 with one line that says what is wrong.

    Args:
        name: of the script, in front of that line.
        work: what it does; returns what it left out, by reason, which is printed.
    """
    try:
        left_out = work()
    except SClipError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    if left_out:
        print(f"left out: {', '.join(f'{reason} x {number}' for reason, number in left_out.items())}")
    return 0
