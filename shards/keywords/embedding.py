"""Phrases nearest in meaning to the captions that hold them, by a CLIP text tower (as KeyBERT does with BERT).

Legend: M phrases, C captions, D embedding width.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from sclip_plugin.keywords import Vocabulary
from sclip_plugin.shards.keywords.captions import Captions, progress
from sclip_plugin.shards.keywords.phrases import PhraseOptions, frequent_phrases

if TYPE_CHECKING:  # torch is imported only where a text tower is asked for
    from sclip_plugin.evaluation.features import Encoder

MOST_ENCODED = 20_000  # captions that are encoded at most: minutes on a CPU (ours)
DEPTH = 20  # frequent phrases that are weighed, as a multiple of the phrases wanted (ours)
VOTES = 3  # phrases that a caption votes for (ours)
BATCH = 256  # texts encoded at a time


@dataclass(frozen=True)
class TextTower:
    """The CLIP model whose text tower embeds captions and phrases.

    Attributes:
        model: open_clip's model name, or `local-dir:DIR`.
        pretrained: a checkpoint file or open_clip's tag; None where the model brings its own weights.
        device: where the model runs.
    """

    model: str
    pretrained: str | None = None
    device: str = "cpu"


def load_encoder(tower: TextTower) -> "Encoder":
    """The text tower, ready to encode.

    Raises:
        DataError: an unknown model, or a checkpoint that is missing or does not fit the model.
    """
    from sclip_plugin.evaluation.features import Encoder
    from sclip_plugin.evaluation.models import load_model

    model, _, tokenizer = load_model(tower.model, tower.pretrained, tower.device, "fp32")
    return Encoder(model, tokenizer, tower.device)


def embedding_phrases(captions: Captions, wanted: int, options: PhraseOptions, encoder: "Encoder") -> list[str]:
    """Frequent phrases by votes: each caption votes for the `VOTES` nearest of the phrases that it holds, with their
    cosine as weight.

    Of more than `MOST_ENCODED` captions, evenly spaced ones vote. The captions are read twice.

    Args:
        captions: the C captions.
        wanted: phrases returned at most, best first.
        options: which phrases count.
        encoder: texts → L2-normalised features (·, D).
    """
    import torch

    phrases = frequent_phrases(progress(captions, "ranking"), DEPTH * wanted, options)
    if not phrases:
        return []
    vocabulary = Vocabulary(phrases)
    table = torch.cat([encoder.texts(part) for part in _batches(phrases)])  # (M, D)
    votes = torch.zeros(len(phrases), dtype=torch.float64)
    step = max(1, -(-len(captions) // MOST_ENCODED))
    for part in _batches(islice(progress(captions, "ranking"), 0, None, step)):
        held = torch.stack([vocabulary.matches(caption) for caption in part])
        cosine = (encoder.texts(part) @ table.T).cpu().masked_fill(~held, -torch.inf)
        best = cosine.topk(min(VOTES, len(phrases)), dim=1)
        votes.index_add_(0, best.indices.flatten(), best.values.flatten().double().clamp(min=0).nan_to_num(neginf=0))
    order = votes.argsort(descending=True, stable=True).tolist()
    return [phrases[index] for index in order if votes[index] > 0][:wanted]


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    texts = iter(texts)
    while part := list(islice(texts, BATCH)):
        yield part
