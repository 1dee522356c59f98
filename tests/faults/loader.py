"""One epoch of the training loader in this process, as a command whose exit status says how it ended."""

import json
import sys
from itertools import islice
from typing import Any

from sclip_plugin.data.config import MixedConfig
from sclip_plugin.data.mixed import MixedLoader
from sclip_plugin.data.shard_list import ShardSet, expand
from sclip_plugin.errors import SClipError
from sclip_plugin.keywords import Vocabulary

MOST = 60  # steps; a damaged sizes.json may promise millions


def main(argv: list[str]) -> int:
    """Read PAIRED, UNPAIRED and KEYWORDS; print the counts as JSON."""
    try:
        _read(argv)
    except SClipError as error:
        print(f"sclip loader: {error}", file=sys.stderr)
        return 1
    return 0


def _read(argv: list[str]) -> None:
    paired, unpaired, keywords, *more = argv[1:]
    vocabulary = Vocabulary.load(keywords)
    sets = [ShardSet.of(expand(name, flag)) for name, flag in ((paired, "--train-data"), (unpaired, "--unpaired-data"))]
    images = None if "--without-unpaired" in more else sets[1]
    config = MixedConfig(sets[0], images, 4, 3, resampled="--resampled" in more)
    loader = MixedLoader(config, _small, _tokens, vocabulary if images else None)
    steps = sum(1 for _ in islice(loader, MOST))
    print(
        json.dumps(
            {"steps": steps, "wanted": loader.num_batches, "total": sets[0].total, "counts": dict(loader.counts)}
        )
    )


def _small(picture: Any) -> Any:
    import torch

    return torch.tensor(picture.resize((2, 2)).getpixel((0, 0)), dtype=torch.float32)


def _tokens(texts: list[str]) -> Any:
    import torch

    return torch.tensor([[len(text)] for text in texts])
