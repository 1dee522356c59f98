"""The demo's commands, as a user would type them, and running them so that a second call goes on where one stopped."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from sclip_plugin.atomic import write_atomic
from sclip_plugin.errors import SClipError

BATCH, LR, WARMUP, KEYWORDS = 32, 5e-5, 10, 100  # learning rate, warm-up and batch (32 + 32) are the paper's
VAL_RATIO, PAIRED_RATIO = 0.2, 0.1
_EPOCH = re.compile(r"Train Epoch: (\d+) .*100%")


class StepFailed(SClipError):
    """A command of the demo ended with an error."""


@dataclass(frozen=True)
class Step:
    """One command.

    name: of its marker and log. command: its words, the first `sclip` or `python`. products: what it writes;
    removed before it runs again. epochs: of a training run, for the progress bar.
    """

    name: str
    command: tuple[str, ...]
    products: tuple[Path, ...] = ()
    epochs: int = 0

    @property
    def shown(self) -> str:
        """The command as a user would type it."""
        return shlex.join(self.command)

    @property
    def argv(self) -> list[str]:
        """The command with this interpreter."""
        words = [str(word) for word in self.command]
        return [sys.executable, *(["-m", "sclip_plugin.cli", *words[1:]] if words[0] == "sclip" else words[1:])]


def data_steps(out: Path) -> list[Step]:
    """Conversion of the icons, the held-out ones by theme, and keywords."""
    shards, source = out / "shards", str(out / "icons" / "captions.csv")
    ratios = ("--val-ratio", str(VAL_RATIO), "--paired-ratio", str(PAIRED_RATIO))
    convert = ("sclip", "convert", source, "--out", str(shards), "--group-column", "group", *ratios)
    themes = (*convert, "--as", "classification", "themes", "--subset", "val", "--templates", "{c}")
    keywords, paired = out / "keywords.txt", str(shards / "paired")
    return [
        Step("convert", convert),
        Step("convert-themes", themes),
        Step("keywords", ("sclip", "keywords", paired, "--out", str(keywords), "--top", str(KEYWORDS)), (keywords,)),
    ]


def run_name(arm: str, seed: int) -> str:
    """Name of a training run."""
    return f"{arm}-{seed}"


def train_step(out: Path, arm: str, seed: int, epochs: int) -> Step:
    """Training of `supervised` (stock open_clip, the pairs only) or `sclip` (the unpaired images too)."""
    name, shards, runs = run_name(arm, seed), out / "shards", out / "runs"
    flags: dict[str, object] = {"--train-data": _pattern(shards / "paired")}
    if arm == "sclip":
        flags = {"--loss": "sclip", **flags, "--unpaired-data": _pattern(shards / "unpaired")}
        flags["--keywords"] = out / "keywords.txt"
    else:
        flags["--dataset-type"] = "webdataset"
    flags |= {"--model": f"local-dir:{out / 'start'}", "--lr": LR, "--warmup": WARMUP, "--epochs": epochs}
    flags |= {"--batch-size": BATCH, "--workers": 1, "--precision": "fp32", "--device": "cpu", "--seed": seed}
    flags |= {"--save-frequency": epochs, "--log-every-n-steps": 1, "--logs": runs, "--name": name}
    words = [str(word) for pair in flags.items() for word in pair]
    return Step(f"train-{name}", ("python", "-m", "open_clip_train.main", *words), (runs / name,), epochs)


def eval_step(out: Path, name: str, checkpoint: Path | None) -> Step:
    """Evaluation of the start model (no checkpoint) or of a run."""
    sets = ("--zeroshot", f"themes={out / 'shards' / 'themes'}", "--retrieval", f"val={out / 'shards' / 'val'}")
    which = ("--model", f"local-dir:{out / 'start'}", *(("--pretrained", str(checkpoint)) if checkpoint else ()))
    result = result_file(out, name)
    rest = ("--device", "cpu", "--json", str(result))
    return Step(f"eval-{name}", ("sclip", "eval", *which, *sets, *rest), (result,))


def result_file(out: Path, name: str) -> Path:
    """Where the measures of a model are."""
    return out / "results" / f"{name}.json"


def checkpoint_file(out: Path, name: str, epochs: int) -> Path:
    """Where a run leaves its last checkpoint."""
    return out / "runs" / name / "checkpoints" / f"epoch_{epochs}.pt"


def _pattern(folder: Path) -> str:
    """The shards of a folder as open_clip takes them."""
    names = sorted(path.name for path in folder.glob("*.tar"))
    if not names:
        raise StepFailed(f"{folder}: no shards; remove it and run the demo again")
    braces = names[0] if len(names) == 1 else f"{{{names[0][:-4]}..{names[-1][:-4]}}}.tar"
    return str(folder / braces)


def run_step(step: Step, out: Path, say: Callable[[str], None] = print) -> None:
    """Print and run a command, unless it has been run to its end with the same words.

    Its output goes to the terminal and to `OUT/logs`; that of a training run to `OUT/logs` alone, with a progress bar.

    Raises:
        StepFailed: it ended with an error; the message names the log.
    """
    marker, log = out / "done" / f"{step.name}.json", out / "logs" / f"{step.name}.log"
    say(f"\n$ {step.shown}")
    if _finished(marker, step):
        say(f"(done before; kept: its output is in {log})")
        return
    marker.unlink(missing_ok=True)
    for product in step.products:
        shutil.rmtree(product) if product.is_dir() else product.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    status = _run(step, log)
    if status:
        raise StepFailed(f"`{step.shown}` ended with status {status}: see {log}")
    if step.epochs:
        say(f"(trained in {time.monotonic() - start:.0f} s; log: {log})")
    write_atomic(marker, json.dumps(step.command) + "\n")


def _finished(marker: Path, step: Step) -> bool:
    if not marker.exists() or json.loads(marker.read_text()) != list(step.command):
        return False
    return all(product.exists() for product in step.products)


def _run(step: Step, log: Path) -> int:
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            step.argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={
                "OMP_NUM_THREADS": "1",
                **os.environ,
            },  # a model this small gains nothing from more; busy machines stall
        )
        try:
            with tqdm(total=step.epochs, unit="epoch", disable=None if step.epochs else True) as bar:
                for line in process.stdout:
                    file.write(line)
                    if _EPOCH.search(line):
                        bar.update()
                    elif not step.epochs:
                        print(line, end="", flush=True)
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
