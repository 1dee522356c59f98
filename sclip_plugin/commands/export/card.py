"""The model card of an export, a README.md with a header that the Hugging Face Hub reads."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from sclip_plugin._version import __version__
from sclip_plugin.commands.export.facts import DataRow, Measures, in_percent, shown
from sclip_plugin.commands.export.staging import CARD_MARK
from sclip_plugin.commands.flags.run import ChosenModel
from sclip_plugin.evaluation.names import short_name
from sclip_plugin.front_matter import front_matter, table_cell

TAGS: Final = ("clip", "open_clip", "s-clip")
TASK: Final = "zero-shot-image-classification"  # what the Hub calls what CLIP is most used for
_USE: Final = """## Use

```python
import open_clip

model, _, preprocess = open_clip.create_model_and_transforms("{place}")
tokenizer = open_clip.get_tokenizer("{place}")
```

Features of images and texts are compared by their cosine.
"""
_ONNX: Final = """The towers alone, for onnxruntime: `{image}` takes `image` (N, 3, H, W), prepared as `preprocess`
does, and `{text}` takes `text` (N, L), the tokens. Both give `features` (N, D) of length 1.
"""
_CITATION: Final = """## Method

S-CLIP: Semi-supervised Vision-Language Learning using Few Specialist Captions, NeurIPS 2023,
[arXiv 2305.14095](https://arxiv.org/abs/2305.14095).
"""


@dataclass(frozen=True)
class ModelFacts:
    """What a model card tells.

    Attributes:
        name: what the model is called.
        place: where open_clip finds it, with its scheme.
        model: the model, with the run that it comes from, if any.
        weights: the weights file or tag that is exported; None for the model's own.
        license: the licence, None where it is not known.
        onnx: the files of the image and of the text tower, empty without them.
        settings: {flag: value} of the run.
        data: the run's data sets.
        measures: what the run measured, if anything.
    """

    name: str
    place: str
    model: ChosenModel
    weights: str | None
    license: str | None
    onnx: Sequence[str]
    settings: Mapping[str, str]
    data: Sequence[DataRow]
    measures: Measures | None


def model_card(facts: ModelFacts) -> str:
    """The text of the card."""
    header: dict[str, object] = {"license": facts.license} if facts.license else {}
    header |= {"library_name": "open_clip", "pipeline_tag": TASK, "tags": list(TAGS if _is_sclip(facts) else TAGS[:2])}
    blocks = [
        f"{front_matter(header)}{CARD_MARK}\n",
        f"# {facts.name}\n",
        _origin(facts),
        _USE.format(place=facts.place),
        _ONNX.format(image=facts.onnx[0], text=facts.onnx[1]) if facts.onnx else "",
        _measures(facts.measures),
        _data(facts.data),
        _settings(facts.settings),
        _versions(),
        _CITATION if _is_sclip(facts) else "",
    ]
    return "\n".join(block for block in blocks if block)


def _is_sclip(facts: ModelFacts) -> bool:
    return facts.settings.get("--loss") == "sclip"


def _origin(facts: ModelFacts) -> str:
    """What the model is and what it was made of, in a sentence or two."""
    kind = f"A CLIP model, `{shown(facts.model.name)}`"
    weights = f", with the weights `{shown(facts.weights)}`" if facts.weights else ""
    if facts.model.run is None:
        return f"{kind}{weights}.\n"
    start = facts.model.run.pretrained
    began = f", which began as `{shown(start)}`" if start else ""
    how = "with S-CLIP, on image-text pairs and images without text" if _is_sclip(facts) else "on image-text pairs"
    return f"{kind}{began}, fine-tuned {how}{weights}.\n"


def _measures(found: Measures | None) -> str:
    if found is None or not found.rows:
        return ""
    lines = ["## Before and after", "", f"| | {found.before} | {found.after} |", "|---|---|---|"]
    for metric, values in found.rows.items():
        cells = (_value(value, in_percent(metric)) for value in values)
        unit = ", %" if in_percent(metric) else ""
        lines.append(f"| {table_cell(short_name(metric))}{unit} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *([found.note, ""] if found.note else [])])


def _value(value: float, percent: bool) -> str:
    if math.isnan(value):
        return "–"
    return f"{100 * value:.1f}" if percent else f"{value:.4g}"


def _data(rows: Sequence[DataRow]) -> str:
    if not rows:
        return ""
    lines = ["## Data", "", "| | images | captions | made of |", "|---|---|---|---|"]
    for row in rows:
        captions = "–" if row.captions is None else str(row.captions)
        lines.append(f"| {row.role} | {row.images} | {captions} | {table_cell(', '.join(row.sources))} |")
    return "\n".join([*lines, ""])


def _settings(flags: Mapping[str, str]) -> str:
    if not flags:
        return ""
    rows = [f"| `{name}` | {table_cell('' if value == 'True' else value)} |" for name, value in flags.items()]
    return "\n".join(["## Settings of the training run", "", "| flag | value |", "|---|---|", *rows, ""])


def _versions() -> str:
    packages = [f"sclip-plugin {__version__}"]
    for name in ("open_clip_torch", "torch"):
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # installed without metadata
            continue
    return f"Exported with {', '.join(packages)}.\n"
