"""Keywords nearest in meaning to the captions that hold them, by a CLIP text tower (as KeyBERT does with BERT).

Legend: M candidates, C captions, D embedding width.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

from sclip_plugin.keywords import Vocabulary
from sclip_plugin.shards.keywords.phrases import Style, frequent_phrases

CANDIDATES = 20  # frequent phrases that are weighed, as a multiple of the keywords wanted
VOTES = 3  # candidates that a caption votes for
BATCH = 256


def embedding_keywords(captions, total: int, wanted: int, style: Style, encoder, limit: int) -> list[str]:
    """Frequent phrases by votes: each caption gives its `VOTES` nearest candidates, among those it holds, their cosine.

    Args:
        captions: () → iterator over the C captions; read twice.
        total: C. limit: captions encoded at most, evenly spaced.
        encoder: `evaluation.features.Encoder`.
    """
    import torch

    candidates = frequent_phrases(captions(), CANDIDATES * wanted, style)
    if not candidates:
        return []
    vocabulary = Vocabulary(candidates)
    table = torch.cat([encoder.texts(part) for part in _batches(candidates)])
    votes = torch.zeros(len(candidates), dtype=torch.float64)
    step = max(1, -(-total // limit))
    for part in _batches(islice(captions(), 0, None, step)):
        held = torch.stack([vocabulary.matches(caption) for caption in part])
        cosine = (encoder.texts(part) @ table.T).cpu().masked_fill(~held, -torch.inf)
        best = cosine.topk(min(VOTES, len(candidates)), dim=1)
        votes.index_add_(0, best.indices.flatten(), best.values.flatten().double().clamp(min=0).nan_to_num(neginf=0))
    order = votes.argsort(descending=True, stable=True).tolist()
    return [candidates[index] for index in order if votes[index] > 0][:wanted]


def _batches(items: Iterable) -> Iterator[list]:
    items = iter(items)
    while part := list(islice(items, BATCH)):
        yield part
