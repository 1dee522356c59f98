"""Damage to tables in text: CSV with any separator, lists of names, text of one item a line."""

import csv
import io
from pathlib import Path

from tests.faults.damage import Damage, Rng
from tests.faults.values import TEXTS, hostile


def _text(value: object) -> str:
    return str(value) if not isinstance(value, int) or abs(value) < 10**100 else "9" * 400


def break_table(rng: Rng, root: Path, path: Path, separator: str = ",") -> Damage:
    """Change one row of a table, or its header."""
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""), delimiter=separator))
    number = rng.randrange(len(rows)) if rng.random() < 0.2 else rng.randrange(1, len(rows))
    way = rng.choice((_value, _value, _quote, _cut, _short, _long, _twice, _bytes))
    lines = [_line(row, separator) for row in rows]
    lines[number], whole = way(rng, rows[number], separator)
    path.write_bytes(b"".join(lines))
    lost = (1, 1) if number and way is not _bytes else None
    return Damage(
        f"row {number}: {way.__name__[1:]}", str(path.relative_to(root)), lost=lost, whole=whole and number > 0
    )


def _line(row: list[str], separator: str) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=separator).writerow(row)
    return buffer.getvalue().encode("utf-8", "surrogatepass")


def _value(rng: Rng, row: list[str], separator: str) -> tuple[bytes, bool]:
    row[rng.randrange(len(row))] = _text(hostile(rng))
    return _line(row, separator), False


def _quote(rng: Rng, row: list[str], separator: str) -> tuple[bytes, bool]:
    """A quotation mark too many, which would swallow the rows after it."""
    number = rng.randrange(len(row))
    plain = [cell.replace('"', "").replace("\n", " ").replace(separator, " ") for cell in row]
    plain[number] = f'"{plain[number]}'
    return (separator.join(plain) + "\r\n").encode(), False


def _cut(rng: Rng, row: list[str], separator: str) -> tuple[bytes, bool]:
    """A separator inside a caption without quotation marks."""
    plain = [cell.replace('"', "").replace("\n", " ").replace(separator, " ") for cell in row]
    plain[1] = plain[1].replace(" ", f"{separator} ", 1)
    return (separator.join(plain) + "\r\n").encode(), True


def _short(rng: Rng, row: list[str], separator: str) -> tuple[bytes, bool]:
    return _line(row[: rng.randrange(len(row))], separator), True


def _long(rng: Rng, row: list[str], separator: str) -> tuple[bytes, bool]:
    return _line([*row, "more"], separator), True


def _twice(rng: Rng, row: list[str], separator: str) -> tuple[bytes, bool]:
    return 2 * _line(row, separator), True


def _bytes(rng: Rng, row: list[str], separator: str) -> tuple[bytes, bool]:
    """Bytes that are no UTF-8, a zero byte, line ends of other systems."""
    junk = rng.choice((b"\xff", b"\xed\xa0\x80", b"\x00", b"\r", b"\x0b", b"\x85", "\u2028".encode(), b"\xef\xbb\xbf"))
    line = _line(row, separator)
    at = rng.randrange(len(line))
    return line[:at] + junk + line[at:], False


def break_lines(rng: Rng, root: Path, path: Path) -> Damage:
    """Change a line of a text file: keywords, stop-words, class names, templates, counts."""
    lines = path.read_text(encoding="utf-8").split("\n")
    number = rng.randrange(len(lines))
    way = rng.choice(("value", "value", "delete", "twice", "bytes", "swap"))
    if way == "value":
        lines[number] = _text(rng.choice((*TEXTS, 200_000_000, 10**30, -1, 0.5, "1 2", "0x10", "# x", "\t# 3")))
    elif way == "delete":
        del lines[number]
    elif way == "twice":
        lines.insert(number, lines[number])
    elif way == "swap":
        rng.shuffle(lines)
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    if way == "bytes":
        at = rng.randrange(len(data) + 1)
        data = (
            data[:at] + rng.choice((b"\xff", b"\xed\xa0\x80", b"\x00", b"\r", b"\x85", "\u2028".encode())) + data[at:]
        )
    path.write_bytes(data)
    return Damage(f"line {number + 1}: {way} {data[:0].decode()}".strip(), str(path.relative_to(root)))
