"""What pairs and a start model say of keywords: figures that equal a plain count, and tell things from style."""

import itertools
import math

import numpy as np
import pytest
import torch

from sclip_plugin.keywords import Vocabulary, words
from sclip_plugin.shards.keywords import evidence as module
from sclip_plugin.shards.keywords.evidence import CaptionWords, agreement, area_under_curve, coherence, evidence

THINGS = {  # what its captions say beside its own name
    "airport": ("runway", "terminal"),
    "beach": ("sand", "waves"),
    "forest": ("canopy", "trees"),
    "desert": ("dunes", "camels"),
}
STYLES = ("outline", "large", "flat")


def captions(count: int = 40) -> list[list[str]]:
    """Pairs of four kinds; words of style come and go without regard to the kind."""
    draw = np.random.default_rng(0)
    pairs = []
    for (thing, said), _ in itertools.product(THINGS.items(), range(count // len(THINGS))):
        styles = [style for style in STYLES if draw.random() < 0.5]
        pairs.append([" ".join([*styles, thing, said[draw.integers(2)]]), f"{said[0]} and {said[1]}"])
    return pairs


def held(keyword: str, pairs: list[list[str]]) -> torch.Tensor:
    vocabulary = Vocabulary([keyword])
    return torch.tensor([any(vocabulary.indices(text) for text in one) for one in pairs])


def measure(keyword: str, pairs: list[list[str]]) -> tuple[float, int]:
    found = CaptionWords(pairs)
    return agreement(found, held(keyword, pairs), found.columns(keyword))


def plain_agreement(keyword: str, pairs: list[list[str]]) -> tuple[float, int]:
    """The same by loops over sets of words."""
    total, bags = len(pairs), [{word for text in one for word in words(text)} for one in pairs]
    counts = {word: sum(word in bag for bag in bags) for bag in bags for word in bag}
    who = [index for index in range(total) if held(keyword, pairs)[index]]
    own, shares = set(words(keyword)), []
    useful = [{word for word in bag - own if counts[word] > 1} for bag in bags]

    def weight(some: set[str]) -> float:
        return sum(math.log(total / counts[word]) ** 2 for word in some)

    for one in who:
        likeness = {
            other: weight(useful[one] & useful[other]) / math.sqrt(weight(useful[one]) * weight(useful[other]))
            for other in range(total)
            if other != one and weight(useful[one] & useful[other]) > 0
        }
        wanted, asked = min(5, len(who) - 1), []
        if likeness:
            last = sorted(likeness.values(), reverse=True)[:wanted][-1]
            nearer = [other for other in likeness if likeness[other] > last + 1e-4]
            tied = [other for other in likeness if abs(likeness[other] - last) <= 1e-4]
            room = min(1, (wanted - len(nearer)) / len(tied))
            weights = {other: likeness[other] * (room if other in tied else 1) for other in nearer + tied}
            asked.append(sum(weights[other] for other in weights if other in who) / sum(weights.values()))
        rare = [word for word in useful[one] if counts[word] <= len(who)]
        if rare:
            by_word = [(sum(word in bags[other] for other in who) - 1) / (counts[word] - 1) for word in rare]
            asked.append(sum(by_word) / len(by_word))
        if asked:
            shares.append(sum(asked) / len(asked))
    chance = (len(who) - 1) / (total - 1)
    return (sum(shares) / len(shares) - chance) / (1 - chance), len(shares)


@pytest.mark.parametrize("keyword", ["outline", "airport", "dunes camels", "sand"])
def test_agreement_equals_a_plain_count(keyword, monkeypatch):
    draw = np.random.default_rng(3)
    letters = [f"w{number}" for number in range(60)]
    pairs = [[*one, " ".join(draw.choice(letters, draw.integers(3, 9)))] for one in captions()]
    for pair in pairs[:9:3]:
        pair[0] += " dunes camels"
    monkeypatch.setattr(module, "ROWS", 3)
    monkeypatch.setattr(module, "COLUMNS", 7)
    value, support = measure(keyword, pairs)
    plain, plain_support = plain_agreement(keyword, pairs)
    assert support == plain_support
    assert value == pytest.approx(plain, abs=1e-4)


def test_the_order_of_pairs_does_not_matter():
    pairs = [[f"forest canopy{' outline' if number % 3 == 0 else ''}"] for number in range(30)] + [["river"]] * 30
    values = {round(measure("outline", sorted(pairs, key=lambda pair: len(pair[0]) * sign))[0], 4) for sign in (1, -1)}
    assert values == {round((9 / 29 - 9 / 59) / (1 - 9 / 59), 4)}


def test_things_are_agreed_on_and_style_is_not():
    pairs = captions()
    assert min(measure(thing, pairs)[0] for thing in THINGS) > 0.9
    assert max(abs(measure(style, pairs)[0]) for style in STYLES) < 0.25


@pytest.mark.parametrize(
    "pairs",
    [
        [["one tree"], ["a river"], ["a river"]],  # one pair alone
        [["tree"], ["tree"], ["a tree"]],  # all pairs
        [["tree"], ["tree"], ["river"]],  # nothing else is said
    ],
)
def test_there_is_no_agreement_without_others_to_ask(pairs):
    assert measure("tree", pairs) == (0.0, 0)


def test_of_many_words_the_commonest_count(monkeypatch):
    monkeypatch.setattr(module, "MOST_WORDS", 2)
    found = CaptionWords([["tree house"], ["tree house"], ["tree", "river"], ["river"]])
    assert found.columns("tree house") == [0, 1]
    assert found.columns("river") == []
    assert found.held.tolist() == [[True, True], [True, True], [True, False], [False, False]]


def test_area_under_curve_counts_ties_half():
    scores = torch.tensor([3.0, 1.0, 2.0, 2.0, 0.0])
    who = torch.tensor([True, False, True, False, False])
    plain = [(a > b) + 0.5 * (a == b) for a in (3.0, 2.0) for b in (1.0, 2.0, 0.0)]
    assert area_under_curve(scores, who) == pytest.approx(sum(plain) / 6)
    assert math.isnan(area_under_curve(scores, torch.ones(5, dtype=torch.bool)))
    assert math.isnan(area_under_curve(scores, torch.zeros(5, dtype=torch.bool)))


def test_coherence_leaves_the_image_itself_out():
    torch.manual_seed(0)
    images = torch.nn.functional.normalize(torch.randn(300, 16), dim=1)
    who = torch.zeros(300, dtype=torch.bool)
    who[:3] = True  # three images that have nothing in common: an image's cosine with itself would say that they do
    assert coherence(images, who) < 0.9
    images[:3] = torch.nn.functional.normalize(images[3] + 0.1 * images[:3], dim=1)
    assert coherence(images, who) > 0.95
    assert math.isnan(coherence(images, torch.arange(300) == 0))


def test_evidence_of_a_vocabulary():
    pairs = [["boot: clothes, clothing"], ["dark clothes clothing"], ["parking-lot"], ["a parking lot, a tree."]]
    images, texts = torch.eye(4), torch.eye(4)[:3]
    found = evidence(Vocabulary(["clothes clothing", "parking lot", "tree"]), pairs, images, texts)
    assert found.held.T.tolist() == [[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]]
    assert found.together.T.tolist() == [[0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]]
    assert found.pairs.tolist() == [2, 2, 1]
    assert found.zero_shot.tolist() == pytest.approx([0.75, 0.25, 1 / 3], abs=1e-6)
    assert found.coherence.isnan().tolist() == [False, False, True]
