"""Shards looked at to the last byte: every image decoded, keys, members, captions, counts and hashes checked.

    sclip verify shards/
    sclip verify shards/ --sheet shards.png
    sclip verify shards/themes

The folder is what `sclip convert` or `sclip split` wrote, a classification set, or any folder of tars. The command
prints what is there and each kind of fault with the first places; it exits 1 where there is a fault.
"""

from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from sclip_plugin.commands.flags.engine import (
    add_engine_arguments,
    add_workers_argument,
    check_engine,
    open_engine,
    seen,
)
from sclip_plugin.commands.flags.paths import named_path
from sclip_plugin.shards.contact_sheet import COLUMNS, draw
from sclip_plugin.shards.report import count_lines
from sclip_plugin.shards.verification.faults import Faults
from sclip_plugin.shards.verification.findings import Findings
from sclip_plugin.shards.verification.parts import Part
from sclip_plugin.shards.verification.verification import verify
from sclip_plugin.storage.location import location

LINES = 2  # lines of thumbnails for each part on the contact sheet


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `sclip verify`."""
    parser.add_argument("folder", metavar="DIR", help="folder of sclip convert, or any of tars, by path or URL")
    add_workers_argument(parser)
    add_engine_arguments(parser)
    parser.add_argument("--sheet", type=named_path, metavar="PNG", help="write a contact sheet of a few samples")


def run(args: Namespace) -> int:
    """Check everything and print what was found; returns 1 where there is a fault, else 0."""
    check_engine(args)
    with open_engine(args) as engine:
        found = verify(location(seen(args, args.folder)), engine, COLUMNS if args.sheet else 0)
    _print_findings(found.findings)
    _print_faults(found.faults)
    if args.sheet:
        _draw_sheet(found.findings, args.sheet)
    return 1 if found.faults.counts else 0


def _print_findings(findings: Mapping[Part, Findings]) -> None:
    rows: list[tuple[str, int, int, int, int | None]] = [
        (part.name, found.samples, found.captions, len(part.shards), found.bytes) for part, found in findings.items()
    ]
    for line in count_lines(rows):
        print(line)
    notes = sum((found.notes for found in findings.values()), Counter[str]())
    for note, number in notes.items():
        print(f"note: {number} ({note})")


def _print_faults(faults: Faults) -> None:
    for kind, number in faults.counts.items():
        print(f"fault: {number} ({kind})")
        shown = faults.places[kind]
        for place in shown:
            print(f"    {' '.join(place.splitlines())}")
        if number > len(shown):
            print(f"    … and {number - len(shown)} more")
    print(f"{faults.counts.total()} faults" if faults.counts else "no fault")


def _draw_sheet(findings: Mapping[Part, Findings], path: Path) -> None:
    rows = [
        (f"{part.name}: {found.samples} images", found.thumbnails[: LINES * COLUMNS])
        for part, found in findings.items()
    ]
    draw(rows, path)
    print(f"contact sheet: {path}")
