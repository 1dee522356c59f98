"""Keywords that teach nothing."""

import torch

from sclip_plugin.commands.checkup.vocabulary import judge
from sclip_plugin.keywords import Vocabulary

THINGS = ("lamp", "boat", "tree", "fish")


def drawn(seed: int, number: int) -> torch.Tensor:
    found = torch.randn(number, 16, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(found, dim=1)


def test_what_is_said_of_a_vocabulary():
    """40 pairs of four things that look alike, and a word that comes and goes with all of them."""
    towers = drawn(0, 4).repeat_interleave(10, dim=0)
    images = torch.nn.functional.normalize(towers + 0.3 * drawn(1, 40), dim=1)
    captions = [
        [f"a {THINGS[i // 10]} drawn with its {THINGS[i // 10]}post" + " outlined" * (i % 3 == 0)] for i in range(40)
    ]
    keywords = ["drawn", *THINGS, "outlined", "zebra"]
    found = judge(Vocabulary(keywords), captions, images, drawn(2, len(keywords)))
    assert found.generic == [("drawn", 1.0)]
    assert found.absent == ["zebra"]
    assert found.style == ["outlined"]
    assert found.unseen == ["outlined"]
    assert (found.total, found.judged, found.pruned, found.without) == (7, 6, 3, 0)
    assert found.bags[:2] == [{1, 5}, {1}]  # `drawn` does not count


def test_pairs_without_any_keyword():
    captions = [["a lamp"]] * 15 + [["nothing"]] * 5
    found = judge(Vocabulary(["lamp"]), captions, drawn(0, 20), drawn(1, 1))
    assert (found.generic, found.without) == ([("lamp", 0.75)], 0.25)
    assert set(found.bags) == {frozenset()}
