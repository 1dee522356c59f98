"""Patch the installed open_clip so that it finds training plugins by itself, see whether it is, or put it back.

This is for sites that forbid import hooks. The patch adds a general plugin extension point to open_clip_train, and
fixes three crashes; with it `open_clip_train.main --loss sclip` works without the hook (SCLIP_PLUGIN_DISABLE=1 may be
set).

Example:
    sclip patch status
    sclip patch apply --dry-run          # show the changes, make none
    sclip patch apply
    sclip patch revert

Only files that are exactly as released are touched; originals are kept beside them, as *.sclip-original, for `revert`.
Revert before you upgrade or uninstall open_clip. `apply` needs patch-ng: pip install 'sclip-plugin[patch]'.
"""

import argparse

from sclip_plugin.patches.change import Changes, apply, plan_apply, plan_revert, revert
from sclip_plugin.patches.diff import show
from sclip_plugin.patches.tree import HALF, MODIFIED, PATCHED, STOCK, Tree, read_tree

SAYING = {
    STOCK: "as released; `sclip patch apply` patches it",
    PATCHED: "it drives training plugins itself; `sclip patch revert` puts it back",
    HALF: "a change was cut short: `sclip patch apply` or `sclip patch revert` completes it",
    MODIFIED: "files are neither stock nor patched, so neither command touches any",
}

ACTIONS = {
    "apply": (plan_apply, apply, "patched"),
    "revert": (plan_revert, revert, "as released"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sclip patch`: its actions are `status`, `apply` and `revert`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, summary in (
        ("status", "say which release it is, and whether stock, patched, half-applied or modified (then exit with 1)"),
        ("apply", "patch it; where it is patched, nothing is done"),
        ("revert", "put the release's own files back, byte for byte; where they are there, nothing is done"),
    ):
        action = actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        action.add_argument(
            "--target",
            metavar="DIR",
            help="the folder that holds open_clip_train: site-packages, or a source tree (default: the one installed)",
        )
        if name != "status":
            action.add_argument("--dry-run", action="store_true", help="show the changes as a diff; make none")


def run(args: argparse.Namespace) -> int:
    """Do what was asked. Returns 0, or 1 from `status` where the tree is half-applied or modified.

    Raises:
        DataError: the release is unknown, files are modified, or the tree cannot be written; nothing was changed.
    """
    tree = read_tree(args.target)
    if args.action == "status":
        return _status(tree)
    plan, make, done = ACTIONS[args.action]
    changes = plan(tree)
    if args.dry_run:
        _show(tree, changes)
    else:
        make(tree, changes)  # without changes it still clears away what a killed process left
    if not changes:
        print(f"{tree.root}: nothing to do, open_clip_torch {tree.version} is {done} already")
    elif not args.dry_run:
        print(f"{tree.root}: open_clip_torch {tree.version} is now {done}: {', '.join(changes)}")
    return 0


def _status(tree: Tree) -> int:
    state = MODIFIED if tree.state == STOCK and tree.modified else tree.state
    print(f"target   {tree.root}\nrelease  open_clip_torch {tree.version}\npatch    {tree.release.patch}")
    print(f"state    {state}: {SAYING[state]}")
    touched = tree.release.patched if tree.state in (HALF, MODIFIED) else ()
    for path in dict.fromkeys([*touched, *tree.modified]):
        print(f"         {_describe(tree, path):<9}{path}")
    return int(state in (HALF, MODIFIED))


def _describe(tree: Tree, path: str) -> str:
    if tree.files[path] is None:
        return "missing" if path in tree.release.stock else "absent"
    return tree.state_of(path)


def _show(tree: Tree, changes: Changes) -> None:
    for path, after in changes.items():
        print(show(path, tree.files[path], after), end="")
