"""What the pairs say of the keywords, before a training with them (ours).

The figures and rules are those of `sclip keywords --prune`. Legend: N pairs, K keywords, D width.
"""

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from sclip_plugin.evaluation.features import Encoder
from sclip_plugin.keywords import Vocabulary
from sclip_plugin.shards.keywords.evidence import evidence, frequency
from sclip_plugin.shards.keywords.pruning import IDLE, prune

LOOKED_AT: Final = 2000  # pairs, evenly spaced; seconds on a CPU
FORWARD: Final = 64  # keywords in a forward pass


def doubts(vocabulary: Vocabulary, captions: Sequence[Sequence[str]], images: Tensor, encoder: Encoder) -> str | None:
    """One line where a third of the keywords or more do not help, as the pairs say; None where they are better.

    Args:
        vocabulary: the K keywords.
        captions: of each of the N pairs, all its captions.
        images: (N, D), L2-normalised features of their images.
        encoder: the model that has made them, in eval mode.
    """
    some = torch.linspace(0, len(captions) - 1, min(LOOKED_AT, len(captions))).round().long()
    said = [captions[row] for row in some.tolist()]
    texts = F.normalize(encoder.texts_in_batches(list(vocabulary), FORWARD).float(), dim=-1).cpu()
    found = evidence(vocabulary, said, images[some].float().cpu(), texts)
    pruned = prune(vocabulary.keywords, frequency(vocabulary, said), found)
    if len(pruned.dropped) < IDLE * len(vocabulary):
        return None
    reasons = "; ".join(f"{reason} × {len(words)}" for reason, words in pruned.by_reason())
    return f"{len(pruned.dropped)} of {len(vocabulary)} keywords do not help, as {len(said)} pairs say ({reasons})"
