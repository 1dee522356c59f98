"""A vocabulary that the pairs speak against is told of before training, and a good one is not."""

import torch
import torch.nn.functional as F

from sclip_plugin.keywords import Vocabulary
from sclip_plugin.teacher import vocabulary
from sclip_plugin.teacher.vocabulary import doubts

THINGS = ("lamp", "boat", "tree", "fish")
STYLES = ("outlined", "sharp", "round")


def drawn(seed: int, number: int) -> torch.Tensor:
    return F.normalize(torch.randn(number, 16, generator=torch.Generator().manual_seed(seed)), dim=1)


class Texts:
    """Stands for the encoder."""

    def texts_in_batches(self, texts, _) -> torch.Tensor:
        return drawn(2, len(texts))


IMAGES = F.normalize(drawn(0, 4).repeat_interleave(30, dim=0) + 0.3 * drawn(1, 120), dim=1)


def caption(i: int) -> str:
    """A thing with its post, and words of style that come and go."""
    thing = THINGS[i // 30]
    return " ".join([thing, "with", thing + "post", *(word for n, word in enumerate(STYLES) if (i * (n + 7)) % 11 < 4)])


CAPTIONS = [(caption(i),) for i in range(120)]


def test_words_of_style_are_told_of():
    line = doubts(Vocabulary([*THINGS, *STYLES]), CAPTIONS, IMAGES, Texts())
    assert line is not None
    assert line.startswith(
        "3 of 7 keywords do not help, as 120 pairs say (style: pairs that are alike otherwise do not"
    )
    assert line.endswith("× 3)")


def test_fewer_than_a_third_are_not():
    assert doubts(Vocabulary(THINGS), CAPTIONS, IMAGES, Texts()) is None
    assert doubts(Vocabulary([*THINGS, STYLES[0]]), CAPTIONS, IMAGES, Texts()) is None
    assert doubts(Vocabulary([*THINGS, *STYLES[:2]]), CAPTIONS, IMAGES, Texts()) is not None  # a third


def test_of_many_pairs_some_are_asked(monkeypatch):
    monkeypatch.setattr(vocabulary, "LOOKED_AT", 40)
    line = doubts(Vocabulary([*THINGS, "zebra", "lion", "bear"]), CAPTIONS, IMAGES, Texts())
    assert line == "3 of 7 keywords do not help, as 40 pairs say (no caption holds it × 3)"
