"""Record a patch for another release of open_clip: the hashes of its files go into `patches/releases.json`.

Example, from the checkout:
    python -m tools.record_patch STOCK_TREE open_clip_torch-3.4.0.patch

patches/README.md has the steps that make such a patch.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from sclip_plugin.atomic import write_atomic
from sclip_plugin.errors import SClipError
from sclip_plugin.patches.diff import apply_diff
from sclip_plugin.patches.releases import FOLDER, TABLE, Release, releases, sha256
from sclip_plugin.patches.tree import find_root, version_of

# In which order files are written: what others import first, and main, which calls all others, last.
ORDER = {"plugins.py": 0, "params.py": 2, "main.py": 3}
OTHERS = 1


def describe(root: Path, patch: str) -> Release:
    """The entry of a release.

    Args:
        root: the folder that holds the release's own open_clip and open_clip_train.
        patch: the name of a file in `patches/`.

    Raises:
        DataError: the patch does not fit.
    """
    files = {f"open_clip_train/{path.name}": path.read_bytes() for path in (root / "open_clip_train").glob("*.py")}
    made = apply_diff(FOLDER / patch, files)
    changed = sorted(
        (path for path in made if made[path] != files.get(path)),
        key=lambda path: ORDER.get(Path(path).name, OTHERS),
    )
    return Release(
        versions=(version_of(root),),
        patch=patch,
        stock={path: sha256(files[path]) for path in sorted(files)},
        patched={path: sha256(made[path]) for path in changed},
    )


def merge(known: list[Release], new: Release) -> list[Release]:
    """The known entries with a new version, which joins the entry with the same hashes where there is one.

    Args:
        known: the entries of `releases.json`.
        new: an entry of one version.

    Returns:
        All entries, oldest first.
    """
    table: list[Release] = []
    for release in known:
        versions = {*release.versions} - {*new.versions}
        if dataclasses.replace(release, versions=new.versions) == new:
            new = dataclasses.replace(new, versions=_sorted(versions | {*new.versions}))
        elif versions:
            table.append(dataclasses.replace(release, versions=_sorted(versions)))
    return sorted([*table, new], key=lambda release: _parts(release.versions[0]))


def _sorted(versions: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(versions, key=_parts))


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def main(argv: Sequence[str] | None = None) -> int:
    """Record what the command line names. Returns 0, or 1 where the patch does not fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", help="the folder that holds the release's open_clip and open_clip_train, unpatched")
    parser.add_argument("patch", help="the patch's file name, in the folder patches/")
    args = parser.parse_args(argv)
    try:
        entry = describe(find_root(args.tree), args.patch)
    except (SClipError, OSError) as error:
        print(f"record_patch: {error}", file=sys.stderr)
        return 1
    table = [dataclasses.asdict(release) for release in merge(releases(), entry)]
    write_atomic(TABLE, json.dumps(table, indent=1) + "\n")
    print(f"{TABLE}: open_clip_torch {', '.join(entry.versions)} with {entry.patch}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
