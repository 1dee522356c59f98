"""Commands of `sclip run` that are played: their products are made up, and their words are written down."""

import io
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import TextIO

import numpy as np
import torch

from sclip_plugin.atomic import write_atomic
from sclip_plugin.commands.study.steps import Step
from sclip_plugin.evaluation.names import RECALLS

IMAGES = 4


class Played:
    """Plays commands.

    Attributes:
        argvs: what would have been run, in order.
        scores: by (arm, epoch, set), the set's figure; 0.5 where there is none. `start` and `chosen` have epoch 0.
        verdict: of the check-up.
        alpha: that WiSE-FT chooses.
        fails: the name of a step that ends with an error.
        interrupted: the name of a training that is interrupted while it writes the checkpoint of epoch 3.
    """

    def __init__(self) -> None:
        self.argvs: list[list[str]] = []
        self.scores: dict[tuple[str, int, str], float] = defaultdict(lambda: 0.5)
        self.verdict, self.alpha = "published", 0.5
        self.fails = self.interrupted = ""

    def play(self, step: Step, log: TextIO) -> int:
        self.argvs.append(step.argv)
        log.write(f"{step.name} was played\n")
        if step.name == self.fails:
            log.write("no luck\n")
            return 1
        if step.name.startswith("train-"):
            self._train(step)
        elif step.name.startswith("eval-"):
            self._evaluate(step)
        else:
            for product in step.products:
                write_atomic(product / "x" if step.name == "export" else product, self._text(product))
        return 0

    def _text(self, product: Path) -> str:
        found = {"checkup.json": {"advice": {"verdict": self.verdict}}, "wiseft.json": {"chosen": self.alpha}}
        return json.dumps(found.get(product.name, {}))

    def _train(self, step: Step) -> None:
        words, folder = list(step.command), step.products[0] / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        for epoch in range(1, 1 + int(words[words.index("--epochs") + 1])):
            if step.name == self.interrupted and epoch == 3:
                (folder / "epoch_3.pt").write_bytes(b"PK\x03\x04 cut off")
                raise KeyboardInterrupt
            torch.save({"epoch": epoch, "state_dict": {}, "optimizer": {}}, folder / f"epoch_{epoch}.pt")

    def _evaluate(self, step: Step) -> None:
        words = list(step.command)
        files = [words[i + 1] for i, word in enumerate(words) if word == "--pretrained"] or [None]
        arm = re.sub(r"^eval-|-0(-epochs)?$", "", step.name)
        records, arrays = [], {}
        for file in files:
            epoch = int(file[6:-3]) if file else 0
            for flag, name in ((words[i], words[i + 1].split("=")[0]) for i in range(len(words) - 1)):
                if flag in ("--zeroshot", "--retrieval"):
                    whose = {"pretrained": file} if len(files) > 1 else {}
                    start = f"{file}/{name}" if len(files) > 1 else name
                    records.append({**whose, "dataset": name, **_measures(flag, self.scores[arm, epoch, name])})
                    arrays |= {f"{start}/{key}": value for key, value in _ranks(flag).items()}
        report = {"pretrained": files if len(files) > 1 else files[0], "results": records}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        write_atomic(step.products[0], json.dumps(report))
        write_atomic(step.products[1], buffer.getvalue())


def _measures(flag: str, score: float) -> dict:
    names = ("acc1", "acc5", "mean_per_class_recall") if flag == "--zeroshot" else RECALLS
    return {"metrics": dict.fromkeys(names, score), "counts": {"images": IMAGES}}


def _ranks(flag: str) -> dict[str, np.ndarray]:
    zeros = np.zeros(IMAGES, dtype=int)
    if flag == "--zeroshot":
        return {"class": zeros, "label": zeros, "classes": np.array(2)}
    return {"image": zeros, "text": zeros, "owner": np.arange(IMAGES)}
