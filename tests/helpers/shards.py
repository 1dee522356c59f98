"""Hand-made shards."""

import io
import json
import tarfile
from pathlib import Path


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
