"""Shared pieces: tiny models that need no network, hand-made shards, and real runs of open_clip's training command."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

VISION = {"vit": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}}
VISION["rn"] = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "patch_size": None}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}


def write_model(folder: Path, vision: str = "vit", **extra) -> str:
    """Write an `open_clip_config.json`; returns the value for `--model`."""
    folder.mkdir(parents=True, exist_ok=True)
    towers = {"embed_dim": 32, "vision_cfg": VISION[vision], "text_cfg": TEXT, **extra}
    config = {"model_cfg": towers, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return f"local-dir:{folder}"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> str:
    return write_model(tmp_path_factory.mktemp("models") / "vit")


@pytest.fixture(autouse=True)
def no_run_left_in_this_process():
    """Parsing `--loss sclip` readies a process for training; tests that do so here must not reach the next ones."""
    yield
    hooked = sys.modules.get("sclip_plugin.host.openclip3")
    if hooked is not None:
        hooked.sclip.run = None


def picture(seed: int, size: int = 40) -> bytes:
    """A PNG that depends on the seed."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((size, size), Image.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, members) -> None:
    """members: (name, bytes) pairs, in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


WORDS = ("red tree", "blue river", "green park", "old bridge", "parking lot")


def write_shards(folder: Path, count: int, shards: int, captions: bool, first: int = 0, sizes: bool = True) -> Path:
    """`count` samples over `shards` tars; sample i is named s<i> and captioned with words that depend on i."""
    table = {}
    for shard in range(shards):
        members = []
        for i in range(shard, count, shards):
            members.append((f"s{first + i:05d}.png", picture(first + i)))
            if captions:
                members.append((f"s{first + i:05d}.txt", f"a {WORDS[i % len(WORDS)]} number {i}".encode()))
        name = f"{shard:06d}.tar"
        write_tar(folder / name, members)
        table[name] = len(range(shard, count, shards))
    if sizes:
        (folder / "sizes.json").write_text(json.dumps(table))
    return folder


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    """paired/ (40 samples, 4 shards), unpaired/ (60, 3) and keywords.txt; not to be changed."""
    root = tmp_path_factory.mktemp("shards")
    write_shards(root / "paired", 40, 4, captions=True)
    write_shards(root / "unpaired", 60, 3, captions=False, first=1000)
    (root / "keywords.txt").write_text("# made by hand\ntree\nriver\npark\t# 8\nparking lot\nlot\n")
    return root


def train_arguments(root: Path, model: str, logs: Path, **flags) -> list[str]:
    """Arguments of a short fp32 run on CPU; flags as keyword arguments (True: no value; None: leave out)."""
    values = {
        "loss": "sclip",
        "train_data": str(root / "paired"),
        "unpaired_data": str(root / "unpaired"),
        "keywords": str(root / "keywords.txt"),
        "model": model,
        "batch_size": 8,
        "workers": 1,
        "epochs": 1,
        "warmup": 1,
        "lr": 1e-3,
        "precision": "fp32",
        "device": "cpu",
        "log_every_n_steps": 1,
        "logs": str(logs),
        "name": "run",
        **flags,
    }
    words = []
    for name, value in values.items():
        if value is None:
            continue
        words.append("--" + name.replace("_", "-"))
        words += [] if value is True else [str(value)]
    return words


def run_training(arguments: list[str], processes: int = 1, module: str = "open_clip_train.main", env=None, cwd=None):
    """Run the training command as a user would; returns the finished process, output and errors together."""
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--nproc-per-node", str(processes), "--standalone", "-m", "--"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    return subprocess.run(
        [*command, module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=cwd,
        timeout=300,
    )


def write_retrieval_set(folder: Path, count: int, first: int = 0) -> Path:
    """CLIP_benchmark's layout, two captions an image."""
    members = []
    for i in range(first, first + count):
        captions = f"a {WORDS[i % len(WORDS)]} number {i}\nanother {WORDS[i % len(WORDS)]}"
        members += [(f"v{i}.png", picture(i)), (f"v{i}.txt", captions.encode())]
    return _write_set(folder, "retrieval", members)


def write_classification_set(folder: Path, count: int, classes=("tree", "river")) -> Path:
    """CLIP_benchmark's layout; fewer than five classes."""
    members = []
    for i in range(count):
        members += [(f"c{i}.png", picture(i)), (f"c{i}.cls", str(i % len(classes)).encode())]
    (folder / "test").mkdir(parents=True)
    (folder / "classnames.txt").write_text("\n".join(classes))
    (folder / "zeroshot_classification_templates.txt").write_text("a photo of {c}.")
    return _write_set(folder, "zeroshot_classification", members)


def _write_set(folder: Path, kind: str, members) -> Path:
    write_tar(folder / "test" / "0.tar", members)
    (folder / "test" / "nshards.txt").write_text("1")
    (folder / "dataset_type.txt").write_text(kind)
    return folder
