"""Hostile values, and JSON documents with one of them inside."""

import copy
import json
from pathlib import Path
from typing import Any

from tests.faults.damage import Damage, Rng

DEEP = "@deep@"  # stands for lists nested without end, which Python's encoder cannot write
TEXTS = (
    "",
    " ",
    "a\nb",
    "a\rb",
    "a\u2028b",
    "a\x00b",
    "\ud800",
    "a\ud83db",
    "../../outside/secret.jpg",
    "/etc/passwd",
    "C:\\windows\\x.jpg",
    "x" * 200_000,
    "\x1b[31mred",
    "nan",
    "-1",
    "1" * 5000,
    "٣",
    "²",
    "\ufeff",
    "a\tb",
    '"',
    ",",
    "http://example.invalid/a.jpg",
    ".",
    "..",
    "{c}",
    "=1+1",
)
NUMBERS = (0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**30, 10**4000, 0.5, -0.0, 1e308, float("inf"), float("nan"))
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"a": 1}, [1, "a", None], ["x", ["y"]], DEEP)


def hostile(rng: Rng) -> Any:
    """A value that hardly any field expects."""
    return copy.deepcopy(rng.choice(rng.choice((TEXTS, NUMBERS, OTHERS))))


def encode(document: Any, rng: Rng) -> bytes:
    """A JSON document with deep lists put in, and lone surrogates escaped or as bytes that are no UTF-8."""
    plain = rng.random() < 0.5
    depth = rng.choice((50, 990, 100_000))
    text = _dumps(document, plain)
    return text.replace(json.dumps(DEEP), "[" * depth + "]" * depth).encode("utf-8", "surrogatepass")


def _dumps(document: Any, plain: bool) -> str:
    import sys

    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(document, ensure_ascii=plain)
    finally:
        sys.set_int_max_str_digits(limit)


def break_document(rng: Rng, document: Any) -> tuple[Any, str, bool]:
    """A document with one node changed; (document, what, whether the node stands inside an item of a list)."""
    node, parent, key, inside, where = document, None, None, False, "$"
    while isinstance(node, dict | list) and node and (parent is None or rng.random() < 0.75):
        inside = inside or (isinstance(node, list) and len(node) > 1)
        parent, key = node, rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        node = node[key]
        where = f"{where}.{key}" if isinstance(key, str) else f"{where}[{key}]"
    if parent is None or rng.random() < 0.03:
        value = hostile(rng)
        return value, f"the document is {value!r:.40}", False
    return document, f"{where} {_change(rng, parent, key)}", inside


def _change(rng: Rng, parent: Any, key: Any) -> str:
    way = rng.choice(("value", "value", "value", "delete", "twice", "sibling"))
    if way == "delete":
        del parent[key]
        return "deleted"
    if way == "twice" and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
        return "twice"
    if way == "sibling" and len(parent) > 1:
        other = rng.choice(list(parent)) if isinstance(parent, dict) else rng.randrange(len(parent))
        parent[key] = copy.deepcopy(parent[other])
        return f"is that of {other}"
    parent[key] = hostile(rng)
    return f"= {parent[key]!r:.40}"


def break_json(rng: Rng, root: Path, path: Path, *, one_record: bool = False) -> Damage:
    """Change a node of a JSON file.

    Args:
        one_record: whether the whole file says something of one image only.
    """
    document, what, inside = break_document(rng, json.loads(path.read_bytes()))
    path.write_bytes(encode(document, rng))
    return Damage(f"JSON: {what}", str(path.relative_to(root)), lost=(1, 3) if inside or one_record else None)


def break_json_lines(rng: Rng, root: Path, path: Path) -> Damage:
    """Change a node of one line of a JSON Lines file."""
    lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    number = rng.choice([n for n, line in enumerate(lines) if line.strip()])
    document, what, _ = break_document(rng, json.loads(lines[number]))
    lines[number] = encode(document, rng)
    path.write_bytes(b"\n".join(lines))
    return Damage(f"line {number + 1}: {what}", str(path.relative_to(root)), lost=(1, 3))
