"""A study's report: one HTML file that needs no other, a picture, and the tables as text."""

import base64
import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Final

from matplotlib.figure import Figure

from sclip_plugin._version import __version__
from sclip_plugin.atomic import write_atomic
from sclip_plugin.commands.study import collect, plots, steps, tables
from sclip_plugin.commands.study.spec import Study
from sclip_plugin.commands.study.tables import Outcome, Rows
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.names import short_name

if TYPE_CHECKING:
    from markupsafe import Markup

TEMPLATE: Final = "report.html.jinja"
INSIDE = {  # diagnostics in the report, in this order
    "label_entropy": "entropy of pseudo-labels",
    "effective_captions": "captions an image draws from",
    "captions_used": "captions in use, %",
    "marginal_error": "marginal error",
    "without_candidates": "images without candidate keyword, %",
    "keyword_confidence": "probability on the candidates",
    "commonest_keyword": "images with the commonest keyword, %",
}
PERCENT = ("captions_used", "without_candidates", "commonest_keyword")
HOW_TO_READ = (
    "± is the standard deviation over seeds. Differences are paired by seed. “Over seeds” is the 95% interval by "
    "Student's t: would other seeds say the same? “Over images” is the 95% interval by drawing the test images anew: "
    "would other images say the same? Read a difference as real only where both leave out zero."
)

LOSS_NOTE = (
    "Means over seeds. The contrastive loss of S-CLIP's arms counts the unpaired images as negatives too, so it stands "
    "higher than the supervised one at the same fit."
)


def outcome(study: Study, out: Path, failed: dict[str, str]) -> Outcome:
    """Read what is finished.

    Args:
        study: what was run.
        out: the study's folder.
        failed: the message of each run that failed, by the run's name.
    """
    names = [step.name.removeprefix("eval-") for step in steps.start_steps(study, out).values()]
    start = [found for name in names if (found := collect.read(study, out, name))]
    arms: dict[str, dict[int, collect.RunResult]] = {name: {} for name in study.arms}
    for run in steps.runs(study):
        if found := collect.read(study, out, run.name):
            arms[run.arm.name][run.seed] = found
    return Outcome(study, start, arms, tables.differences(study, arms), failed)


def write(found: Outcome, out: Path) -> str:
    """Write `table.md`, `report.html` and `report.png` into the study's folder; returns the tables as text."""
    text = tables.markdown(found)
    picture = plots.overview(found)
    write_atomic(out / "table.md", text)
    plots.png(picture, out / "report.png")
    write_atomic(out / "report.html", page(found, out, picture))
    return text


def page(found: Outcome, out: Path, picture: Figure) -> str:
    """The report as an HTML page.

    Args:
        found: what the study found.
        out: the study's folder, which the commands name.
        picture: the plot at the head of the page.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["code"] = _code
    curves = plots.curves(found)
    return pages.get_template(TEMPLATE).render(
        title=found.study.title,
        about=_about(found),
        picture=Markup(plots.svg(picture)),
        main=tables.main_rows(found),
        verdict=tables.verdict(found) if found.differences else [],
        differences=tables.difference_rows(found) if found.differences else [],
        how_to_read=HOW_TO_READ,
        curves=Markup(plots.svg(curves)) if curves else None,
        loss_note=LOSS_NOTE,
        inside=_inside(found),
        panels=_panels(found),
        warnings=_warnings(found),
        details=_details(found),
        commands=_commands(found, out) if found.commands is None else found.commands,
        failed=found.failed,
        versions=f"sclip-plugin {__version__}; {_versions()}",
    )


def _code(text: str) -> "Markup":
    """The text, escaped, with what stands between `backticks` as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def _about(found: Outcome) -> list[str]:
    sizes = {name: number for result in found.start or _all(found)[:1] for name, number in result.images.items()}
    runs = sum(len(results) for results in found.arms.values())
    listed = ", ".join(f"{number} images in {name}" for name, number in sizes.items())
    opening = f"{runs} runs of {len(found.arms)} arms; e" if found.commands is None else "E"
    return [*found.study.about.split("\n\n"), f"{opening}valuated on {listed}."]


def _all(found: Outcome) -> list[collect.RunResult]:
    return [result for results in found.arms.values() for result in results.values()]


def _inside(found: Outcome) -> Rows:
    """The diagnostics at the end of the runs; no rows where no run reported to TensorBoard."""
    rows = []
    names = [name for name in INSIDE if any(name in result.inside for result in _all(found))]
    for arm, results in found.arms.items():
        inside = [result.inside for result in results.values() if result.inside]
        if inside:
            cells = [_mean([one[name] for one in inside if name in one], name in PERCENT) for name in names]
            rows.append([found.title(arm), *cells])
    return [["", *(INSIDE[name] for name in names)], *rows] if rows else []


def _mean(values: list[float], percent: bool) -> str:
    if not values:
        return "–"
    return f"{100 * statistics.fmean(values):.0f}" if percent else f"{statistics.fmean(values):.3g}"


def _panels(found: Outcome) -> list[tuple[str, str]]:
    """(title, image data in base64) of the last image panel of each arm's first run that has one."""
    panels = {arm: [one.panel for one in results.values() if one.panel] for arm, results in found.arms.items()}
    return [(found.title(arm), base64.b64encode(some[0]).decode()) for arm, some in panels.items() if some]


def _warnings(found: Outcome) -> list[str]:
    """What the runs warned of, each warning once with the runs that gave it."""
    said: dict[str, list[str]] = {}
    for result in _all(found):
        for warning in result.warnings:
            said.setdefault(warning, []).append(result.name)
    return [f"{', '.join(runs)}: {text}" for text, runs in said.items()]


def _details(found: Outcome) -> Rows:
    """Every metric of every arm, and how long its training took, as means over seeds."""
    rows: Rows = []
    names = [(dataset, metric) for dataset, table in _all(found)[0].metrics.items() for metric in table]
    for arm, results in [("", dict(enumerate(found.start[:1]))), *found.arms.items()]:
        if results:
            means = [statistics.fmean(one.metrics[d][m] for one in results.values()) for d, m in names]
            took = [one.seconds for one in results.values() if one.seconds is not None]
            cells = [*(f"{mean:.1f}" for mean in means), f"{statistics.fmean(took):.0f}" if took else ""]
            rows.append([found.title(arm) if arm else tables.START_TITLE, *cells])
    titles = [f"{dataset} {short_name(metric)}" for dataset, metric in names]
    return [["", *titles, "training, s"], *rows]


def _commands(found: Outcome, out: Path) -> list[str]:
    """The commands that made the data, and the training command of each arm's first seed."""
    study = found.study
    lines = [step.shown for step in steps.prepare_steps(study)]
    first = [steps.StudyRun(arm, study.seeds[0]) for arm in study.arms.values()]
    try:
        lines += [steps.train_step(study, run, out).shown for run in first]
    except DataError as error:  # the shards are gone, the results are not
        lines.append(str(error))
    return lines


def _versions() -> str:
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in ("open_clip_torch", "torch"))
