"""Which open_clip releases work by which route: `make compat` prints a table with a row for each release and route.

Each release's wheel is installed into a folder of its own below `build/compat` (pip, without dependencies) that stands
first on PYTHONPATH; the rest is this environment. A row passes where a two-process run on a CPU trains, evaluates its
own sets and writes a checkpoint that the same release loads without the plugin, and where losses, metrics and weights
equal those of the release's first row. A release that cannot work passes where it says so in one line.

    python -m tests.compat [VERSION ...]        default: every release of 3.x, and one that is refused
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import torch

from sclip_plugin._version import __version__
from sclip_plugin.patches.releases import releases
from tests.helpers.hosts import patch
from tests.helpers.models import write_model
from tests.helpers.sets import write_classification_set, write_retrieval_set
from tests.helpers.shards import write_shards
from tests.helpers.training import run_training, train_arguments
from tests.training.test_training import losses

BUILD = Path(__file__).parent.parent / "build" / "compat"
VERSIONS = [version for release in releases() for version in release.versions]
REFUSED = "2.32.0"
ROUTES = {
    "import hook": ("open_clip_train.main", {}),
    "explicit main": ("sclip_plugin.main", {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}),
    "patched open_clip": ("open_clip_train.main", {"SCLIP_PLUGIN_DISABLE": "1"}),
}
LOADS = (
    "import open_clip, sys; model = open_clip.create_model(sys.argv[1])\n"
    "open_clip.load_checkpoint(model, sys.argv[2], strict=True); print(open_clip.__version__)"
)


@dataclass
class Outcome:
    """What a row shows.

    Attributes:
        problems: what went wrong; the row passes where there is nothing.
        trained: losses and metrics, which must be equal in all rows of a release.
        weights: the checkpoint's tensors, which must be equal too.
    """

    problems: list[str]
    trained: tuple[list[dict[str, float]], str] | None = None
    weights: dict[str, torch.Tensor] = field(default_factory=dict)


def fetch(version: str) -> Path | None:
    """The folder with the release, installed on the first call; None where pip cannot get it."""
    folder = BUILD / version
    if not folder.is_dir():
        aside = BUILD / f".{version}.new"
        shutil.rmtree(aside, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--target"]
        if subprocess.run([*command, str(aside), f"open_clip_torch=={version}"]).returncode != 0:
            return None
        aside.rename(folder)
    return folder


def inputs(root: Path) -> tuple[str, dict[str, object]]:
    """Write tiny shards and evaluation sets; returns a tiny model's name and flags for two epochs over them."""
    write_shards(root / "paired", 40, 4, captions=True)
    write_shards(root / "unpaired", 60, 3, captions=False, first=1000)
    (root / "keywords.txt").write_text("tree\nriver\npark\nparking lot\nlot\n")
    things = write_classification_set(root / "things", 8)
    flags = {"val_data": write_retrieval_set(root / "val", 9), "zeroshot_data": f"things={things}", "epochs": 2}
    return write_model(root / "model"), {**flags, "report_to": "tensorboard"}


def trained(folder: Path, route: str, root: Path, model: str, flags: dict[str, object], logs: Path) -> Outcome:
    """What one run did.

    Args:
        folder: the release, for PYTHONPATH.
        route: one of `ROUTES`.
        root: the shards.
        model: the value for `--model`.
        flags: further training flags.
        logs: the folder for the run.
    """
    module, env = ROUTES[route]
    env = {**env, "PYTHONPATH": str(folder)}
    run = run_training(train_arguments(root, model, logs, **flags), processes=2, module=module, env=env)
    if run.returncode:
        lines = run.stdout.strip().splitlines()
        return Outcome([next((line for line in lines if "rror" in line), lines[-1]).strip()])
    checkpoints = logs / "run" / "checkpoints"
    command = [sys.executable, "-c", LOADS, model, str(checkpoints / "epoch_2.pt")]
    loaded = subprocess.run(
        command, env={**os.environ, **env, "SCLIP_PLUGIN_DISABLE": "1"}, text=True, capture_output=True
    )
    version = folder.name.removesuffix("-patched")
    rows, metrics = losses(run.stdout), (checkpoints / "results.jsonl").read_text()
    looked_at = {
        f"not active by {route}": f"active by {route}" in run.stdout,
        "losses missing": len(rows) == 6 and {"Contrastive_loss", "Caption_loss", "Keyword_loss"} < rows[0].keys(),
        "metrics missing": '"things/acc1"' in metrics and '"image_retrieval_recall@1"' in metrics,
        "checkpoint does not load": loaded.stdout.strip() == version,
    }
    weights = torch.load(checkpoints / "epoch_2.pt", weights_only=True)["state_dict"]
    return Outcome([text for text, good in looked_at.items() if not good], (rows, metrics), weights)


def same(one: Outcome, other: Outcome) -> bool:
    """True where both rows have equal losses, metrics and weights."""
    return one.trained == other.trained and all(torch.equal(one.weights[k], other.weights[k]) for k in one.weights)


def patched_copy_of(folder: Path) -> tuple[Path, list[str]]:
    """A patched copy of the release, and what went wrong in patching or reverting one."""
    copy = folder.with_name(f"{folder.name}-patched")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def files(root: Path) -> dict[str, bytes]:
        found = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {str(path.relative_to(root)): path.read_bytes() for path in found}

    before = files(copy)
    with redirect_stdout(io.StringIO()):  # its report would stand between the table's rows
        statuses = [patch(action, copy) for action in ("apply", "revert")]
        problems = [] if files(copy) == before else ["revert does not restore the release"]
        statuses.append(patch("apply", copy))
    return copy, problems + ["sclip patch failed"] * any(statuses)


def refused(folder: Path, route: str, root: Path, model: str) -> Outcome:
    """Whether a release that cannot work says so in one line that names both versions."""
    module, env = ROUTES[route]
    run = run_training(
        train_arguments(root, model, root / "none"), module=module, env={**env, "PYTHONPATH": str(folder)}
    )
    said = f"sclip-plugin {__version__} supports open_clip_torch 3.x, but open_clip_torch {folder.name} is installed"
    lines = run.stdout.strip().splitlines()
    return Outcome([] if run.returncode and lines[-1].endswith(said) else [*lines[-1:], "not refused"][:1])


def report(version: str, route: str, what: str, outcome: Outcome) -> bool:
    """Print a row; returns whether it passes."""
    print(f"| {version} | {route} | {what} | {'pass' if not outcome.problems else '; '.join(outcome.problems)} |")
    sys.stdout.flush()
    return not outcome.problems


def check(version: str, root: Path, model: str, flags: dict[str, object]) -> bool:
    """Print the rows of one release; returns whether all pass."""
    folder = fetch(version)
    if folder is None:
        return report(version, "-", "install", Outcome(["not served by the package registry"]))
    if version not in VERSIONS:
        rows = [report(version, route, "refused", refused(folder, route, root, model)) for route in list(ROUTES)[:2]]
        with redirect_stderr(io.StringIO()):
            no_patch = Outcome([] if patch("apply", folder) == 1 else ["sclip patch took it"])
        return all([*rows, report(version, "sclip patch", "refused", no_patch)])
    first, good = None, True
    for route in ROUTES:
        where, problems = patched_copy_of(folder) if route == "patched open_clip" else (folder, [])
        outcome = trained(where, route, root, model, flags, root / version / route.split()[0])
        outcome.problems += problems
        if first is None:
            first = outcome
        elif not outcome.problems and not same(first, outcome):
            outcome.problems.append("differs from the first route")
        good &= report(version, route, "trains, evaluates, loads; equal", outcome)
    return good


def main(argv: list[str]) -> int:
    """Check the versions of the command line. Returns 0 where all rows pass, else 1."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        model, flags = inputs(Path(folder))
        print("| open_clip_torch | route | what | pass |\n|---|---|---|---|")
        good = [check(version, Path(folder), model, flags) for version in argv or [*VERSIONS, REFUSED]]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
