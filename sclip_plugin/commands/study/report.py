"""A study's report: one HTML file that needs no other, a picture, and the tables as text."""

import base64
import html
import re
import statistics
from pathlib import Path

from matplotlib.figure import Figure

from sclip_plugin._version import __version__
from sclip_plugin.atomic import write_atomic
from sclip_plugin.commands.study import collect, plots, steps, tables
from sclip_plugin.commands.study.spec import Study
from sclip_plugin.commands.study.tables import Outcome
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.names import short_name

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 2em auto; padding: 0 1.5em }
h1 { font-size: 1.5em; margin-bottom: .2em } h2 { font-size: 1.15em; margin: 2em 0 .5em }
table { border-collapse: collapse; font-size: .92em } td, th { padding: .25em .9em .25em 0; text-align: left }
thead th { border-bottom: 1px solid #999; font-weight: 600 } tbody tr:nth-child(even) { background: #f6f6f4 }
td:not(:first-child) { font-variant-numeric: tabular-nums } .about, .note { color: #555; max-width: 60em }
svg, img { max-width: 100%; height: auto } pre, code { font-size: .86em }
pre { background: #f6f6f4; padding: .8em; overflow-x: auto }
summary { cursor: pointer } ul { padding-left: 1.2em }
"""
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
    parts = [f"<h1>{_text(found.study.title)}</h1>", *(f"<p class=about>{_text(p)}</p>" for p in _about(found))]
    parts += [plots.svg(picture), "<h2>Measures</h2>", _table(tables.main_table(found))]
    if found.differences:
        parts += ["<h2>Differences</h2>", _list(tables.reading(found).splitlines())]
        parts += [_table(tables.difference_table(found)), f"<p class=note>{HOW_TO_READ}</p>"]
    if figure := plots.curves(found):
        parts += ["<h2>Learning curves</h2>", plots.svg(figure), f"<p class=note>{LOSS_NOTE}</p>"]
    parts += [*_inside(found), *_panels(found), *_warnings(found), _details(found), _commands(found, out)]
    if found.failed:
        parts += ["<h2>Failed runs</h2>", _list([f"- {name}: {text}" for name, text in found.failed.items()])]
    parts.append(f"<p class=note>sclip-plugin {__version__}; {_versions()}</p>")
    title = _text(found.study.title)
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
    return head + "<body>" + "\n".join(parts) + "</body></html>\n"


def _about(found: Outcome) -> list[str]:
    sizes = {name: number for result in found.start or _all(found)[:1] for name, number in result.images.items()}
    runs = sum(len(results) for results in found.arms.values())
    listed = ", ".join(f"{number} images in {name}" for name, number in sizes.items())
    return [*found.study.about.split("\n\n"), f"{runs} runs of {len(found.arms)} arms; evaluated on {listed}."]


def _all(found: Outcome) -> list[collect.RunResult]:
    return [result for results in found.arms.values() for result in results.values()]


def _text(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))


def _list(lines: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{_text(line.removeprefix('- '))}</li>" for line in lines) + "</ul>"


def _table(markdown: str) -> str:
    """A Markdown table as HTML."""
    head, _, *body = [[_text(cell.strip()) for cell in line[1:-1].split(" | ")] for line in markdown.splitlines()]
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body)
    return f"<table><thead><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr></thead><tbody>{rows}</tbody></table>"


def _inside(found: Outcome) -> list[str]:
    """The diagnostics at the end of the runs, for studies whose runs report to TensorBoard."""
    rows = []
    names = [name for name in INSIDE if any(name in result.inside for result in _all(found))]
    for arm, results in found.arms.items():
        inside = [result.inside for result in results.values() if result.inside]
        if inside:
            cells = [_mean([one[name] for one in inside if name in one], name in PERCENT) for name in names]
            rows.append([found.title(arm), *cells])
    if not rows:
        return []
    return [
        "<h2>Inside the runs</h2><p class=note>Means over the last quarter of each run.</p>",
        _table(tables.table([["", *(INSIDE[name] for name in names)], *rows])),
    ]


def _mean(values: list[float], percent: bool) -> str:
    if not values:
        return "–"
    return f"{100 * statistics.fmean(values):.0f}" if percent else f"{statistics.fmean(values):.3g}"


def _panels(found: Outcome) -> list[str]:
    """The last image panel of each arm's first run."""
    parts: list[str] = []
    for arm, results in found.arms.items():
        panel = next((result.panel for result in results.values() if result.panel), None)
        if panel:
            source = f"data:image/png;base64,{base64.b64encode(panel).decode()}"
            summary = f"<summary>{_text(found.title(arm))}</summary>"
            parts.append(f"<details{'' if parts else ' open'}>{summary}<img src='{source}' alt=''></details>")
    return ["<h2>What unpaired images were taken for</h2>", *parts] if parts else []


def _warnings(found: Outcome) -> list[str]:
    """What the runs warned of, each warning once with the runs that gave it."""
    said: dict[str, list[str]] = {}
    for result in _all(found):
        for warning in result.warnings:
            said.setdefault(warning, []).append(result.name)
    if not said:
        return []
    return ["<h2>What the runs warned of</h2>", _list([f"{', '.join(runs)}: {text}" for text, runs in said.items()])]


def _details(found: Outcome) -> str:
    """Every metric of every arm, and how long its training took, as means over seeds."""
    rows: list[list[str]] = []
    names = [(dataset, metric) for dataset, table in _all(found)[0].metrics.items() for metric in table]
    for arm, results in [("", dict(enumerate(found.start[:1]))), *found.arms.items()]:
        if results:
            means = [statistics.fmean(one.metrics[d][m] for one in results.values()) for d, m in names]
            took = [one.seconds for one in results.values() if one.seconds is not None]
            cells = [*(f"{mean:.1f}" for mean in means), f"{statistics.fmean(took):.0f}" if took else ""]
            rows.append([found.title(arm) if arm else tables.START_TITLE, *cells])
    titles = [f"{dataset} {short_name(metric)}" for dataset, metric in names]
    titles.append("training, s")
    return f"<h2>All metrics, %</h2>{_table(tables.table([['', *titles], *rows]))}"


def _commands(found: Outcome, out: Path) -> str:
    """The commands that made the data, and the training command of each arm's first seed."""
    study = found.study
    lines = [step.shown for step in steps.prepare_steps(study)]
    first = [steps.StudyRun(arm, study.seeds[0]) for arm in study.arms.values()]
    try:
        lines += [steps.train_step(study, run, out).shown for run in first]
    except DataError as error:  # the shards are gone, the results are not
        lines.append(str(error))
    note = "Arms without a loss train by open_clip's own loader, its shuffle seeded so that they can be repeated."
    shown = html.escape("\n\n".join(lines))
    folded = f"<details><summary>{len(lines)} commands</summary><pre>{shown}</pre></details>"
    return f"<h2>Commands</h2>{folded}<p class=note>{note}</p>"


def _versions() -> str:
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in ("open_clip_torch", "torch"))
