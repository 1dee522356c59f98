"""Which commands `sclip run` consists of, each as a user would type it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sclip_plugin.commands.flags.evaluation import SET_FLAGS
from sclip_plugin.commands.run.arms import ARMS, DEFAULT_ARMS
from sclip_plugin.commands.run.request import Request
from sclip_plugin.commands.study import steps
from sclip_plugin.commands.study.spec import Arm, Evaluation, Study
from sclip_plugin.commands.study.steps import Step, StudyRun
from sclip_plugin.commands.study.values import Flag
from sclip_plugin.evaluation.evaluate import NamedSet
from sclip_plugin.evaluation.names import CLASSIFICATION, RETRIEVAL
from sclip_plugin.shards.next_steps import KEPT

CHOSEN: Final = "chosen"  # the name of the exported model's results, and of its row
BOOTSTRAP: Final = 1000  # draws of the images behind an interval; that of a study
LOGGED: Final = 5  # steps from one logged to the next; these runs are short, and signs of one going wrong come then
ABOUT: Final = """
Every arm has the same pairs, learning rate and number of epochs. Each stands here with the epoch that {by} chose;
`chosen` is the best arm's model, between the start model and that epoch (`sclip wiseft`).
"""
ON_TEST: Final = "Nothing was chosen by {test}."


class Plan:
    """The commands of one run, and where they write.

    Args:
        request: what the user asks for.

    Attributes:
        words: the file of the keywords that the check-up looks at.
        keywords: the keyword file of training.
        checkup: the check-up's figures.
        wiseft: the figures between the start model and the chosen epoch.
        weights: the chosen weights.
        model: the exported folder.
    """

    def __init__(self, request: Request) -> None:
        self.request, self.out = request, request.out
        self.words = request.keywords or self.out / "proposals.txt"
        self.keywords = request.keywords or self.out / "keywords.txt"
        self.checkup, self.wiseft = self.out / "checkup.json", self.out / "wiseft.json"
        self.weights, self.model = self.out / "chosen.pt", self.out / "model"

    # --- before training ---------------------------------------------------------------------------------------------

    def proposals_step(self) -> Step:
        """The keywords that the check-up looks at: YAKE's first."""
        request = self.request
        command = ("sclip", "keywords", str(request.paired), "--out", str(self.words), *self._language())
        return Step("proposals", command, (self.words,), (str(request.paired),))

    def checkup_step(self) -> Step:
        """The check-up, in batches of the training's size."""
        request, picture = self.request, self.out / "checkup.png"
        batch = request.schedule.batch_size * request.processes
        words = ("--keywords", str(self.words)) if request.needs_keywords else ()
        command = ("sclip", "checkup", str(request.shards), *self._start(), *words)
        command += ("--batch-size", str(batch), "--device", request.device, *self._language())
        command += ("--out", str(picture), "--json", str(self.checkup))
        inputs = (str(request.paired), str(request.unpaired), *words[1:], *self._start_inputs())
        return Step("checkup", command, (picture, self.checkup), inputs)

    def keywords_step(self) -> Step:
        """The keywords of training, without those that pairs and start model show to be of no help."""
        request = self.request
        command = ("sclip", "keywords", str(request.paired), "--out", str(self.keywords), "--prune", *self._start())
        command += ("--device", request.device, *self._language())
        return Step("keywords", command, (self.keywords,), (str(request.paired), *self._start_inputs()))

    # --- training ----------------------------------------------------------------------------------------------------

    def study(self, arms: Sequence[str], sets: Sequence[NamedSet]) -> Study:
        """The arms as a study of one seed, measured on these sets."""
        request = self.request
        folders = {
            kind: {one.name: one.folder for one in sets if one.kind == kind} for kind in (CLASSIFICATION, RETRIEVAL)
        }
        flags: dict[str, Flag] = {"device": request.device}
        return Study(
            source=Path("sclip run"),
            title=f"{request.shards.resolve().name}: from the start model to the chosen one",
            about=self._about(),
            seeds=(request.seed,),
            processes=request.processes,
            threads=None,
            baseline=DEFAULT_ARMS[0] if DEFAULT_ARMS[0] in arms else None,
            compare=(),
            prepare=(),
            arms={name: Arm(name, ARMS[name], {**self._common(), **self._own(name)}) for name in arms},
            evaluation=Evaluation(folders[CLASSIFICATION], folders[RETRIEVAL], KEPT, BOOTSTRAP, flags),
        )

    def _about(self) -> str:
        """A paragraph for the report: what was chosen by which sets."""
        request = self.request
        said = ABOUT.format(by=request.deciding).strip()
        named = ", ".join(one.name for one in request.test)
        return f"{said} {ON_TEST.format(test=named)}" if named else said

    def _common(self) -> dict[str, Flag]:
        """The training flags of every arm."""
        request, schedule = self.request, self.request.schedule
        found: dict[str, Flag] = {"model": request.model}
        found |= {"pretrained": request.pretrained} if request.pretrained else {}
        found |= {"train-data": str(request.paired), "batch-size": schedule.batch_size}
        found |= {"lr": request.lr or schedule.rate, "warmup": schedule.warmup, "epochs": schedule.epochs}
        found |= {"workers": request.workers}
        found |= {"precision": request.precision} | ({} if request.device == "cuda" else {"device": request.device})
        every = -(-schedule.epochs // KEPT)  # what is measured is what is saved
        named = [f"{one.name}={one.folder}" for one in request.validation if one.kind == CLASSIFICATION]
        held = [one.folder for one in request.validation if one.kind == RETRIEVAL]
        found |= {"val-data": held[0], "val-frequency": every} if held else {}
        found |= {"zeroshot-data": [*named], "zeroshot-frequency": every} if named else {}
        return found | {"report-to": "tensorboard", "log-every-n-steps": LOGGED, "resume": "latest"}

    def _own(self, arm: str) -> dict[str, Flag]:
        """The training flags in which an arm differs."""
        unpaired: dict[str, Flag] = {"unpaired-data": str(self.request.unpaired)}
        keywords: dict[str, Flag] = {"keywords": str(self.keywords)}
        flags: dict[str, dict[str, Flag]] = {
            "supervised": {"loss": "clip"},
            "trusted": {"loss": "sclip", **unpaired, **keywords, "sclip-recipe": "trusted"},
            "trusted-captions": {"loss": "sclip", **unpaired, "sclip-recipe": "trusted"},
            "pair-keywords": {"loss": "sclip", **keywords, "sclip-pair-keyword-weight": 1},
            "published": {"loss": "sclip", **unpaired, **keywords},
        }
        return flags[arm]

    def validation_step(self, study: Study, run: StudyRun) -> Step:
        """The evaluation of every saved epoch of a run on the study's sets."""
        files = [file.name for _, file in steps.checkpoints(study, run, self.out)]
        return self._evaluation(study, epochs_name(run), self._folder(run), files, f"train-{run.name}")

    # --- the chosen model --------------------------------------------------------------------------------------------

    def wiseft_step(self, run: StudyRun, epoch: int) -> Step:
        """The choice of a point between the start model and an epoch of a run."""
        request, picture = self.request, self.out / "wiseft.png"
        command = ["sclip", "wiseft", str(self._folder(run)), "--tuned", f"epoch_{epoch}.pt"]
        command += [word for one in request.validation for word in (SET_FLAGS[one.kind], _named(one))]
        command += [word for name in request.by for word in ("--by", name)]
        command += ["--device", request.device, "--out", str(self.weights)]
        command += ["--json", str(self.wiseft), "--plot", str(picture)]
        study = self.study([], request.validation)
        inputs = (self._marker(f"train-{run.name}"), *steps.set_inputs(study))
        return Step("wiseft", tuple(command), (self.weights, self.wiseft, picture), inputs)

    def export_step(self, run: StudyRun, epoch: int, alpha: float) -> Step:
        """The export of the chosen weights, with their measures in the model card."""
        other = ("--weights", str(self.weights), "--measures", str(self.wiseft))
        chosen = ("--pretrained", f"epoch_{epoch}.pt") if alpha == 1 else other
        command = ("sclip", "export", str(self._folder(run)), *chosen, "--out", str(self.model), "--overwrite")
        command += ("--license", self.request.license) if self.request.license else ()
        return Step("export", command, (self.model,), (self._marker("wiseft"), str(self.weights)))

    # --- the final table ---------------------------------------------------------------------------------------------

    def start_eval_step(self, study: Study) -> Step:
        """The evaluation of the start model."""
        return next(iter(steps.start_steps(study, self.out).values()))

    def arm_eval_step(self, study: Study, run: StudyRun, epoch: int) -> Step:
        """The evaluation of an epoch of a run."""
        return self._evaluation(study, run.name, self._folder(run), [f"epoch_{epoch}.pt"], f"train-{run.name}")

    def chosen_eval_step(self, study: Study) -> Step:
        """The evaluation of the exported model."""
        arm = Arm(CHOSEN, CHOSEN, {"model": f"local-dir:{self.model}", "precision": self.request.precision})
        name = f"{CHOSEN}-{self.request.seed}"
        step = steps.eval_step(study, self.out, name, arm, [])
        return Step(step.name, step.command, step.products, (self._marker("export"), *step.inputs))

    # --- words -------------------------------------------------------------------------------------------------------

    def _evaluation(self, study: Study, name: str, folder: Path, files: list[str], after: str) -> Step:
        """The evaluation of checkpoints of a run, which says itself how its model is built."""
        result, ranks = steps.result_files(self.out, name)
        chosen = [word for file in files for word in ("--pretrained", file)]
        rest = steps.words({**study.evaluation.flags, "json": str(result), "ranks": str(ranks)})
        command = ("sclip", "eval", str(folder), *chosen, *steps.set_words(study), *rest)
        return Step(f"eval-{name}", command, (result, ranks), (self._marker(after), *steps.set_inputs(study)))

    def _folder(self, run: StudyRun) -> Path:
        return self.out / "runs" / run.name

    def _marker(self, name: str) -> str:
        """The file that changes whenever a step has run again."""
        return str(self.out / "done" / f"{name}.json")

    def _start(self) -> tuple[str, ...]:
        pretrained = self.request.pretrained
        return ("--model", self.request.model, *(("--pretrained", pretrained) if pretrained else ()))

    def _start_inputs(self) -> tuple[str, ...]:
        pretrained = self.request.pretrained
        return (self.request.model.removeprefix("local-dir:"), *([pretrained] if pretrained else []))

    def _language(self) -> tuple[str, ...]:
        return () if self.request.language == "en" else ("--language", self.request.language)


def epochs_name(run: StudyRun) -> str:
    """The name of the results of a run's saved epochs on the validation sets."""
    return f"{run.name}-epochs"


def _named(one: NamedSet) -> str:
    return f"{one.name}={one.folder}"
