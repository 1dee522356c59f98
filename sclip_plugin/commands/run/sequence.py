"""The commands of `sclip run`, one after the other: what is done already is kept, and what was chosen is told."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sclip_plugin.atomic import write_atomic
from sclip_plugin.commands.checkup.recommendation import SUPERVISED
from sclip_plugin.commands.run.arms import ARMS, DEFAULT_ARMS, WITHOUT_KEYWORDS
from sclip_plugin.commands.run.choice import Candidate, best, candidates, histories
from sclip_plugin.commands.run.plan import Plan
from sclip_plugin.commands.run.request import Request
from sclip_plugin.commands.run.work import Work
from sclip_plugin.commands.study import check, steps
from sclip_plugin.commands.study.spec import Study
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.names import CLASSIFICATION
from sclip_plugin.locking import locked


def carry_out(request: Request, dry: bool) -> None:
    """Run everything that is not done yet, and end with table, report and model; or only print the commands.

    Args:
        request: what the user asks for.
        dry: whether the commands are only printed, with the last epoch of the last arm as if it had been chosen.

    Raises:
        StepFailed: a command failed.
        UsageError: an arm's flags cannot work, another process is at work in the folder, or something stands there
            that the command would replace and has not made.
        DataError: training has gone wrong, or results are damaged.
    """
    plan, work = Plan(request), Work(request.out, dry)
    _check(plan, [name for name in request.arms or ("supervised",) if name in ("supervised", WITHOUT_KEYWORDS)])
    if dry:
        _run(plan, work)
        return
    request.out.mkdir(parents=True, exist_ok=True)
    with locked(request.out / ".lock", f"{request.out}: another process is at work there"):
        _run(plan, work)


def _run(plan: Plan, work: Work) -> None:
    request = plan.request
    arms = _prepare(plan, work)
    study = plan.study(arms, request.validation)
    runs = steps.runs(study)
    training = [steps.train_step(study, run, plan.out) for run in runs]
    work.check([*training, plan.wiseft_step(runs[0], 1), plan.export_step(runs[0], 1, 1)])  # whatever will be chosen
    for step in training:
        work.look_at_checkpoints(step)
    if not work.dry:
        _check(plan, arms)
    for run, step in zip(runs, training):
        work.train(step, request.schedule.epochs)
        work.do(plan.validation_step(study, run), show=False)
    if work.dry:
        work.say(f"# which arm and epoch comes now, {request.deciding} decides; here they are the last ones")
        chosen_epochs = [Candidate(run, request.schedule.epochs, 0.0) for run in runs]
        _finish(plan, work, arms, chosen_epochs, chosen_epochs[-1])
        return
    every = candidates(study, histories(study, plan.out), request.by)
    chosen_epochs = [best(one for one in every if one.run == run) for run in runs]
    for one in chosen_epochs:
        work.say(f"{ARMS[one.run.arm.name]}: best after epoch {one.epoch}, {one.score:.1f} by {request.deciding}")
    _finish(plan, work, arms, chosen_epochs, best(chosen_epochs))


def _prepare(plan: Plan, work: Work) -> tuple[str, ...]:
    """Keywords and check-up; returns the arms."""
    request = plan.request
    extract = request.keywords is None and request.needs_keywords
    every = [plan.proposals_step(), plan.checkup_step(), plan.keywords_step()]
    every = every if extract else every[1:2]
    work.check(every)
    for step in every:
        work.do(step)
    if request.arms is not None:
        return request.arms
    if work.dry:
        work.say(f"# where the check-up doubts the keywords, a third arm is trained: {ARMS[WITHOUT_KEYWORDS]}")
        return DEFAULT_ARMS
    if _figure(plan.checkup, "advice", "verdict") != SUPERVISED:
        return DEFAULT_ARMS
    work.say(f"The check-up doubts the keywords, so there is a third arm: {ARMS[WITHOUT_KEYWORDS]}.")
    return (*DEFAULT_ARMS, WITHOUT_KEYWORDS)


def _figure(path: Path, *names: str) -> object:
    """A value in a step's file of figures, by its names from the outside in."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for name in names:
            found = found[name]
        return found
    except (ValueError, LookupError, TypeError, RecursionError):
        raise DataError(f"{path}: damaged; remove it, and run the same command again") from None


def _check(plan: Plan, arms: Sequence[str]) -> None:
    """Let open_clip's parser and the plugin look at the training flags, before anything is trained.

    What an earlier call left in the folders of the runs is looked at by `Work`, so `--resume` is left out here.
    """
    if arms:
        study = plan.study(arms, plan.request.validation)
        anew = {
            name: replace(arm, flags={flag: value for flag, value in arm.flags.items() if flag != "resume"})
            for name, arm in study.arms.items()
        }
        check.check_arms(replace(study, arms=anew), plan.out)


def _finish(plan: Plan, work: Work, arms: tuple[str, ...], epochs: Sequence[Candidate], chosen: Candidate) -> None:
    """From the chosen epoch to the exported model, the final table and the report.

    Args:
        plan: the commands.
        work: what runs them.
        arms: the names of the arms.
        epochs: the best epoch of each arm's run.
        chosen: the best of them.
    """
    request = plan.request
    work.do(plan.wiseft_step(chosen.run, chosen.epoch))
    alpha = 0.5 if work.dry else _alpha(plan)
    if not work.dry:
        _tell_choice(plan, work, chosen, alpha)
    work.do(plan.export_step(chosen.run, chosen.epoch, alpha), replaces=True)  # but for a card of the user's own
    final = plan.study(arms, (*request.validation, *request.test))
    work.do(plan.start_eval_step(final), show=False)
    for one in epochs:
        work.do(plan.arm_eval_step(final, one.run, one.epoch), show=False)
    work.do(plan.chosen_eval_step(final), show=False)
    if not work.dry:
        _report(plan, work, final, epochs, chosen, alpha)


def _report(plan: Plan, work: Work, final: Study, epochs: Sequence[Candidate], chosen: Candidate, alpha: float) -> None:
    from sclip_plugin.commands.run.final_report import final_outcome
    from sclip_plugin.commands.study import report

    validation = plan.study(tuple(final.arms), plan.request.validation)
    measured = histories(validation, plan.out)
    outcome = final_outcome(final, plan.out, measured, epochs, (chosen, alpha), work.shown)
    work.say(f"\n{report.write(outcome, plan.out)}")
    for line in _places(plan):
        work.say(line)


def _alpha(plan: Plan) -> float:
    """The chosen point between the start model (0) and the tuned one (1)."""
    found = _figure(plan.wiseft, "chosen")
    if not isinstance(found, int | float):
        raise DataError(f"{plan.wiseft}: damaged; remove it, and run the same command again")
    return float(found)


def _tell_choice(plan: Plan, work: Work, chosen: Candidate, alpha: float) -> None:
    """Say what was chosen and by what, and write it down."""
    request, arm = plan.request, chosen.run.arm.name
    work.say(f"chosen by {request.deciding}: {ARMS[arm]}, epoch {chosen.epoch}, alpha {alpha:g}")
    if alpha == 0:
        work.say("alpha 0 is the start model: on these sets fine-tuning has not made it better")
    if not any(one.kind == CLASSIFICATION for one in request.validation):
        work.say(
            "The choice knows of retrieval only. On our benches the images without captions gained in classification "
            "(docs/settings.md); a classification set for --val lets it count."
        )
    found = {"arm": arm, "seed": chosen.run.seed, "epoch": chosen.epoch, "alpha": alpha, "by": list(request.by)}
    write_atomic(plan.out / "choice.json", json.dumps(found, indent=1) + "\n")


def _places(plan: Plan) -> list[str]:
    """Where everything is."""
    out = plan.out
    runs = sum(file.stat().st_size for file in (out / "runs").rglob("*.pt"))
    return [
        f"table: {out / 'table.md'}",
        f"report: {out / 'report.html'}",
        f"picture: {out / 'report.png'}",
        f"model: {plan.model} (in open_clip: --model local-dir:{plan.model})",
        f"checkpoints: {runs / 1e9:.2g} GB in {out / 'runs'}, of which the model needs none",
    ]
