"""The demo's picture: what was measured, and what S-CLIP makes of a few icons without captions.

Legend: B pairs, U unpaired images.
"""

import io
import os
import statistics
from collections import Counter
from pathlib import Path

import torch
from PIL import Image

from sclip_plugin.data.tarstream import read_samples
from sclip_plugin.demo.report import ARMS, COLUMNS

ICONS, SHOWN = 6, 3  # icons in the picture, pseudo-captions under each
COLOURS = {"start": "#b8bcc4", "supervised": "#4c78a8", "sclip": "#e4572e"}
SAMPLED = 512  # unpaired images whose transport plan is solved


def read_icons(folder: Path, limit: int) -> list[tuple[Image.Image, str]]:
    """(image, caption or "") of the first samples of a training folder, its shards taken in turn."""
    shards = sorted(folder.glob("*.tar"))
    found = []
    for shard in shards:
        share = -(-limit // len(shards))
        for _, members in read_samples(str(shard), 0, share, Counter()):
            caption = members.get("txt", b"").decode("utf-8", errors="replace")
            found.append((Image.open(io.BytesIO(members["png"])).convert("RGB"), caption))
    return found[:limit]


def predictions(out: Path, checkpoint: Path) -> list[tuple[Image.Image, list[tuple[str, float]]]]:
    """For a few unpaired icons, the captions of the pairs that the transport plan gives them, heaviest first."""
    from sclip_plugin.evaluation.command import load_model
    from sclip_plugin.evaluation.features import Encoder
    from sclip_plugin.transport import sinkhorn

    model, preprocess, tokenizer = load_model(f"local-dir:{out / 'start'}", str(checkpoint), "cpu", "fp32")
    encoder = Encoder(model, tokenizer)
    paired = read_icons(out / "shards" / "paired", 10**6)
    unpaired = read_icons(out / "shards" / "unpaired", SAMPLED)

    def features(samples):
        return encoder.images(torch.stack([preprocess(image) for image, _ in samples]))

    cost = 1 - features(unpaired) @ features(paired).T
    plan = sinkhorn(cost, epsilon=1 / model.logit_scale.detach().exp(), iterations=10).plan
    chosen = torch.linspace(0, len(unpaired) - 1, ICONS).round().long().tolist()
    result = []
    for row in chosen:
        weights, columns = plan[row].topk(min(SHOWN, len(paired)))
        captions = [(paired[j][1], w) for j, w in zip(columns.tolist(), weights.tolist())]
        result.append((unpaired[row][0], captions))
    return result


def draw(out: Path, results: dict[str, list[list[float]]], checkpoint: Path) -> Path:
    """Write `demo.png`: bars with a dot for each seed, and the icons with their pseudo-captions."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subfigures(2, 1, height_ratios=(3, 2.2))
    upper.suptitle("Icons, a tenth of them with captions: measured on icons held out", fontsize=13)
    for index, axes in enumerate(upper.subplots(1, 2)):
        _bars(axes, results, index)
    lower.suptitle(
        "Icons without a caption, and the pairs' captions that S-CLIP's transport plan gives them", fontsize=13
    )
    for axes, (image, captions) in zip(lower.subplots(1, ICONS), predictions(out, checkpoint)):
        _icon(axes, image, captions)
    path = out / "demo.png"
    aside = out / f".demo.{os.getpid()}.png"
    figure.savefig(aside, dpi=120)
    os.replace(aside, path)
    return path


def _bars(axes, results, index: int) -> None:
    for x, (arm, runs) in enumerate(results.items()):
        values = [run[index] for run in runs]
        mean = statistics.fmean(values)
        axes.bar(x, mean, width=0.65, color=COLOURS[arm])
        axes.text(x, mean / 2, f"{mean:.1f}", ha="center", va="center", fontsize=12)
        if len(values) > 1:
            axes.plot([x] * len(values), values, "o", color="black", markersize=4)
    axes.set_xticks(range(len(results)), [ARMS[arm] for arm in results])
    axes.set_title(f"{COLUMNS[index]}, %", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)


def _icon(axes, image: Image.Image, captions: list[tuple[str, float]]) -> None:
    axes.imshow(image)
    axes.set_xticks([])
    axes.set_yticks([])
    lines = [f"{weight:.0%} {text if len(text) < 22 else text[:20] + '…'}" for text, weight in captions]
    axes.set_xlabel("\n".join(lines), fontsize=8)
