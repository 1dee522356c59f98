"""Make the demo's start model: a small CLIP trained on named icons that are none of the demo's.

The demo only unpacks what this script wrote. It needs the npm client and `pip install resvg-py`:

    python -m tools.start_model.pretrain --work build/pretrain --minutes 12

It writes `start.zip` (configuration and fp16 weights) and `NOTICE-start.txt` (sets, authors, licences) into `--out`.
The loss is CLIP's, on one CPU thread. Only the tokens that occur in captions are trained: the other rows of the
embedding are zero in the file, which therefore compresses.

Legend: N icons, V tokens in use, L positions in use.
"""

import argparse
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from PIL import Image
from tqdm import tqdm

from sclip_plugin.commands.demo.embedded import FOLDER, START, images_and_captions
from tools import npm
from tools.start_model import iconsets
from tools.start_model.fitting import fit

SIZE, LENGTH = 64, 12  # pixels; positions that captions use (the model has 24)
MEAN, STD = 0.8, 0.36
CONFIG: dict[str, dict[str, Any]] = {
    "model_cfg": {
        "embed_dim": 128,
        "vision_cfg": {"image_size": SIZE, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64, "patch_size": None},
        "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2},
    },
    "preprocess_cfg": {"mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bicubic", "resize_mode": "squash"},
}


# --- data ------------------------------------------------------------------------------------------------------------


def rasterise(svg: str) -> np.ndarray | None:
    """Grey picture, uint8 (64, 64), black on white; None where the SVG draws nothing or cannot be drawn."""
    import resvg_py

    try:
        data = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE, background="white"))
    except Exception:  # the renderer's own error types: such an icon is left out, and counted by the caller
        return None
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    return pixels if pixels.shape == (SIZE, SIZE) and pixels.std() > 4 else None


def load(work: Path) -> tuple[np.ndarray, list[list[str]]]:
    """Pictures, uint8 (N, 64, 64), and captions of all icons taken; kept in `work` for the next call."""
    cache = work / "icons.npz"
    if not cache.exists():
        package = npm.fetch(iconsets.PACKAGE, work)
        pictures: list[np.ndarray] = []
        captions: list[str] = []
        for svg, texts in tqdm(list(iconsets.icons(package)), desc="draw", disable=None):
            picture = rasterise(svg)
            if picture is not None:
                pictures.append(picture)
                captions.append("\n".join(texts))
        stack = np.stack(pictures)
        keep = ~resembles_demo(stack)
        print(f"{len(stack)} icons drawn, {int((~keep).sum())} left out as too like one of the demo's")
        np.savez(cache, pictures=stack[keep], captions=np.array(captions)[keep])
    stored = np.load(cache)
    return stored["pictures"], [text.split("\n") for text in stored["captions"]]


def resembles_demo(pictures: np.ndarray, threshold: float = 6.0) -> np.ndarray:
    """bool (N,): mean absolute difference to some icon of the demo below `threshold` grey levels, at 16x16 pixels."""

    def small(stack: Iterable[np.ndarray]) -> torch.Tensor:
        return F.avg_pool2d(torch.from_numpy(np.stack(list(stack))).float()[:, None], 4).flatten(1)

    demo = small([np.asarray(Image.open(io.BytesIO(data)).convert("L")) for data in images_and_captions()[0].values()])
    nearest = [torch.cdist(rows, demo, p=1).min(dim=1).values for rows in small(pictures).split(1024)]
    return (torch.cat(nearest) / demo.shape[1] < threshold).numpy()


def tokenize(captions: list[list[str]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All M captions as compact tokens (M, L), the first row of each icon (N + 1), and the tokens in use (V)."""
    from open_clip import SimpleTokenizer

    rows = SimpleTokenizer(context_length=LENGTH)([text for texts in captions for text in texts])
    used, compact = torch.unique(rows, return_inverse=True)  # the end token has the largest id before and after
    first = torch.tensor([0, *np.cumsum([len(texts) for texts in captions])])
    return compact, first, used


# --- training --------------------------------------------------------------------------------------------------------


def build(vocabulary: int) -> CLIP:
    """The model with random weights and an embedding of `vocabulary` rows."""
    config = json.loads(json.dumps(CONFIG["model_cfg"]))
    config["text_cfg"]["vocab_size"] = vocabulary
    torch.manual_seed(0)
    return CLIP(**config).to(memory_format=torch.channels_last)


def images_of(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Network input (B, 3, 64, 64) of uint8 pictures (B, 64, 64): shifted by up to 4 pixels, scaled by 0.85 to 1.1."""
    count = len(pictures)
    scale = 1 / (0.85 + 0.25 * torch.rand(count, generator=generator))
    shift = (torch.rand(count, 2, generator=generator) - 0.5) * (16 / SIZE)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, [count, 1, SIZE, SIZE], align_corners=False)
    ink = F.grid_sample(255.0 - pictures[:, None].float(), grid, align_corners=False)
    grey = ((255.0 - ink) / 255.0 - MEAN) / STD
    return grey.expand(-1, 3, -1, -1)


def train(
    pictures: torch.Tensor, captions: list[list[str]], minutes: float, batch: int, lr: float
) -> tuple[CLIP, torch.Tensor]:
    """Train for so many minutes, each time with one of a picture's captions.

    Args:
        pictures: uint8 (N, 64, 64).
        captions: each picture's.
        minutes: how long.
        batch: pictures in a step.
        lr: the highest learning rate.

    Returns:
        The model, and the tokens in use (V).
    """
    tokens, first, used = tokenize(captions)
    model = build(len(used))

    def batch_of(chosen: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        draw = torch.rand(len(chosen), generator=generator) * (first[chosen + 1] - first[chosen])
        return images_of(pictures[chosen], generator), tokens[first[chosen] + draw.long()]

    fit(model, len(pictures), batch_of, minutes=minutes, batch=batch, lr=lr)
    return model, used


# --- writing ---------------------------------------------------------------------------------------------------------


def full_state(model: CLIP, used: torch.Tensor) -> dict[str, torch.Tensor]:
    """The weights in fp16 with an embedding of full size, in which the rows of unused tokens are zero."""
    state = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    small = state["token_embedding.weight"]
    table = torch.zeros(CONFIG["model_cfg"]["text_cfg"]["vocab_size"], small.shape[1], dtype=small.dtype)
    table[used] = small
    state["token_embedding.weight"] = table
    return state


def write(model: CLIP, used: torch.Tensor, package: Path, out: Path) -> None:
    """Write `start.zip` and `NOTICE-start.txt`.

    Args:
        model: the trained model.
        used: the tokens in use (V).
        package: the icon sets, for the notice.
        out: the folder for both files.
    """
    from safetensors.torch import save

    with zipfile.ZipFile(out / START, "w", zipfile.ZIP_LZMA) as archive:
        for name, data in (
            ("open_clip_config.json", json.dumps(CONFIG, indent=1).encode()),
            ("open_clip_model.safetensors", save(full_state(model, used))),
        ):
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data, zipfile.ZIP_LZMA)
    lines = [
        f"The start model was trained on drawings and names of these icon sets, taken from {iconsets.PACKAGE}.",
        "",
    ]
    for prefix, about in iconsets.licences(package).items():
        lines.append(f"{prefix}: {about['name']}, by {about['author']} ({about['licence']}) {about['url']}".rstrip())
    (out / "NOTICE-start.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Make the start model as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the download and the drawn icons")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for both files (default: the demo's)")
    parser.add_argument("--minutes", type=float, default=12, help="how long to train (default 12)")
    parser.add_argument("--batch", type=int, default=384, help="pictures in a step (default 384)")
    parser.add_argument("--lr", type=float, default=2e-3, help="the highest learning rate (default 2e-3)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pictures, captions = load(args.work)
    print(f"{len(pictures)} icons, {sum(map(len, captions))} captions")
    model, used = train(torch.from_numpy(pictures), captions, args.minutes, args.batch, args.lr)
    write(model, used, npm.fetch(iconsets.PACKAGE, args.work), args.out)


if __name__ == "__main__":
    main()
