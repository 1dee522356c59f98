"""Shards looked at to the last byte: every image decoded, keys, members, captions, counts and hashes checked.

    sclip verify shards/
    sclip verify shards/ --sheet shards.png
    sclip verify shards/themes

For what `sclip convert` and `sclip split` wrote, classification sets, and any folder of tars. Prints what is there and
each kind of fault with the first places; exits 1 where there is a fault.
"""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.shards import layout
from sclip_plugin.shards.contact_sheet import COLUMNS, draw
from sclip_plugin.shards.report import count_lines
from sclip_plugin.shards.threads import in_threads
from sclip_plugin.shards.verification.checks import Findings, Keys, Part, check_shard

SHOWN = 5  # places named for each kind of fault


def add_arguments(parser) -> None:
    """Arguments of `sclip verify`."""
    parser.add_argument("folder", metavar="DIR", help="folder that sclip convert wrote, or any folder of tars")
    parser.add_argument("--workers", type=int, default=min(8, os.cpu_count() or 1), metavar="N", help="threads")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="write a contact sheet of a few samples")


def run(args) -> int:
    """Check everything, print, return 0 or 1."""
    if args.workers < 1:
        raise UsageError(f"--workers must be at least 1, got {args.workers}")
    root = Path(args.folder)
    parts = find_parts(root)
    found, faults = _check_shards(root, parts, args.workers, COLUMNS if args.sheet else 0)
    for kind, place in [*_folder_faults(root, parts, found), *_manifest_faults(root, found)]:
        faults.add(kind, place)
    _print(found, faults)
    if args.sheet:
        draw(
            [(f"{part.name}: {one.samples} images", one.thumbnails[: 2 * COLUMNS]) for part, one in found.items()],
            args.sheet,
        )
        print(f"contact sheet: {args.sheet}")
    return 1 if faults.counts else 0


class Faults:
    """How often each kind of fault was found, and the first places."""

    def __init__(self):
        self.counts: Counter = Counter()
        self.places: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, place: str) -> None:
        """One more."""
        self.counts[kind] += 1
        if len(self.places[kind]) < SHOWN:
            self.places[kind].append(place)


def _check_shards(root: Path, parts: list[Part], workers: int, thumbnails: int) -> tuple[dict[Part, Findings], Faults]:
    found, faults, keys = {part: Findings() for part in parts}, Faults(), Keys()
    jobs = [(part, shard) for part in parts for shard in part.shards]
    size = sum(shard.stat().st_size for _, shard in jobs)
    with tqdm(total=size, desc="verifying", unit="B", unit_scale=True, disable=None) as bar:
        for (part, shard), one in zip(
            jobs, in_threads(lambda job: check_shard(*job, thumbnails=thumbnails), jobs, workers)
        ):
            bar.update(one.bytes)
            found[part].add(str(shard.relative_to(root)), one)
            for kind, place in [*one.faults, *keys.twice(one.keys, shard)]:
                faults.add(kind, place)
    keys.close()
    return found, faults


def find_parts(root: Path) -> list[Part]:
    """The parts of what is at `root`: a training set, an evaluation set, or a folder of tars.

    Raises:
        DataError: none of these.
    """
    if not root.is_dir():
        raise DataError(f"no such folder: {root}")
    folders = {kind: root / layout.shard_folder(kind) for kind in layout.TRAINING}
    parts = [Part(kind, kind, shards) for kind, folder in folders.items() if (shards := _tars(folder))]
    if parts:
        return parts
    if shards := _tars(root / layout.TEST):
        retrieval = _read(root / "dataset_type.txt").strip() == layout.RETRIEVAL
        classes = () if retrieval else tuple(_read(root / "classnames.txt").splitlines())
        return [Part(root.name, layout.VAL if retrieval else layout.CLASSES, shards, classes)]
    if shards := _tars(root):
        kind = {"paired": layout.PAIRED, "unpaired": layout.UNPAIRED}.get(root.resolve().name, "")
        return [Part(root.name, kind, shards)]
    raise DataError(f"{root}: no tars in it, nor in paired/, unpaired/, val/test/ or test/")


def _tars(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ""


def _folder_faults(root: Path, parts: list[Part], found: dict[Part, Findings]) -> Iterable[tuple[str, str]]:
    """`sizes.json`, `nshards.txt` and classnames of each part against what is there."""
    if (root / ".progress").exists():
        yield "unfinished: run the same sclip convert again", str(root / ".progress")
    for part in parts:
        folder = part.shards[0].parent
        sizes = folder / layout.SIZES
        counted = {name.rpartition("/")[2]: one["samples"] for name, one in found[part].shards.items()}
        if sizes.exists() and _json(sizes) != counted:
            yield "sizes.json does not say what the shards hold", str(sizes)
        if part.kind not in (layout.VAL, layout.CLASSES):
            continue
        text = _read(folder / "nshards.txt").strip()
        if text != str(len(part.shards)) or {shard.name for shard in part.shards} != {
            f"{n}.tar" for n in range(len(part.shards))
        }:
            yield "nshards.txt and 0.tar, 1.tar, … do not agree", str(folder)
        if part.kind == layout.CLASSES and not part.classes:
            yield "classnames.txt is missing or empty", str(folder.parent)


def _manifest_faults(root: Path, found: dict[Part, Findings]) -> Iterable[tuple[str, str]]:
    """`manifest.json` against the shards, and its counts against each other."""
    path = root / layout.MANIFEST
    if not path.exists():
        return
    manifest = _json(path)
    if not isinstance(manifest, dict) or not {"shards", "counts"} <= manifest.keys():
        yield "manifest cannot be read", str(path)
        return
    listed, there = manifest["shards"], {name: one for part in found.values() for name, one in part.shards.items()}
    for name in sorted(set(listed) | set(there)):
        if name not in there:
            yield "shard of the manifest is missing", name
        elif name not in listed:
            yield "shard is not in the manifest", name
        elif differing := [field for field in there[name] if listed[name].get(field) != there[name][field]]:
            yield f"shard differs from the manifest ({', '.join(differing)})", name
    for what in ("images", "captions"):
        one = manifest["counts"][what]
        if one["read"] != sum(one["written"].values()) + sum(one["skipped"].values()):
            yield "counts in the manifest do not add up", what
    written, counted = manifest["counts"]["images"]["written"], {part.kind: one.samples for part, one in found.items()}
    if written != counted:
        yield "the manifest counts other images than there are", f"{written}, found {counted}"


def _json(path: Path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _print(found: dict[Part, Findings], faults: Faults) -> None:
    rows = [(part.name, one.samples, one.captions, len(part.shards), one.bytes) for part, one in found.items()]
    for line in count_lines(rows):
        print(line)
    notes: Counter = sum((one.notes for one in found.values()), Counter())
    for note, number in notes.items():
        print(f"note: {number} ({note})")
    for kind, number in faults.counts.items():
        print(f"fault: {number} ({kind})")
        for place in faults.places[kind]:
            print(f"    {place}")
        if number > SHOWN:
            print(f"    … and {number - SHOWN} more")
    print(f"{faults.counts.total()} faults" if faults.counts else "no fault")
