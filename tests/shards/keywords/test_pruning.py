"""`--prune`: which proposals are dropped, for which reason, and that all of them are accounted for."""

import io
import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from sclip_plugin.cli import main
from sclip_plugin.data.shard_list import expand
from sclip_plugin.errors import DataError
from sclip_plugin.keywords import Vocabulary
from sclip_plugin.shards.keywords import pruning
from sclip_plugin.shards.keywords.evidence import Evidence
from sclip_plugin.shards.keywords.pair_features import pair_features
from sclip_plugin.shards.keywords.pruning import Pruned, adjusted_agreement, prune, seen
from tests.helpers.shards import picture, write_tar


def evidence(*columns: str, agreement=1.0, support=None, coherence=0.7, zero_shot=0.7, together=None) -> Evidence:
    """Figures of keywords; a column is a string with 1 for each pair that holds the keyword."""
    held = torch.tensor([[letter == "1" for letter in column] for column in columns]).T

    def row(value) -> torch.Tensor:
        return torch.tensor(value if isinstance(value, list) else [value] * len(columns))

    support = held.sum(dim=0) if support is None else row(support)
    together = held if together is None else held & row(together)
    return Evidence(held, together, row(agreement), support, row(coherence), row(zero_shot))


def frequency(found: Evidence, words: list[str]) -> dict[str, int]:
    return dict(zip(words, found.pairs.tolist()))


def reasons(pruned: Pruned) -> dict[str, tuple[str, str]]:
    return {one.keyword: (one.reason, one.detail) for one in pruned.dropped}


def test_what_is_never_once_or_nearly_always_held():
    words, found = (
        ["gone", "once", "always", "tree"],
        evidence("0" * 20, "1" + "0" * 19, "1" * 19 + "0", "11" + "0" * 18),
    )
    pruned = prune(words, frequency(found, words), found)
    assert pruned.kept == ("tree",)
    assert reasons(pruned) == {
        "gone": (pruning.NO_CAPTION, ""),
        "once": (pruning.ONE_PAIR, ""),
        "always": (pruning.NEARLY_ALL, "95%"),
    }


def test_style_goes_unless_few_pairs_hold_it_or_the_model_sees_it():
    words = ["outline", "rare", "folder", "cookie"]
    columns = ["1" * 30 + "0" * 90, "0" * 30 + "111" + "0" * 87, "0" * 40 + "1" * 30 + "0" * 50, "0" * 80 + "1" * 40]
    found = evidence(*columns, agreement=[0.0, 0.0, 0.0, 0.8], coherence=[0.6, 0.6, 0.97, 0.6], zero_shot=0.96)
    pruned = prune(words, frequency(found, words), found)
    assert pruned.kept == ("rare", "folder", "cookie")
    assert reasons(pruned) == {"outline": (pruning.STYLE, "agreement 0.12, seen 0.60")}


def test_the_prior_counts_less_the_more_pairs_there_are():
    found = evidence("1" * 2 + "0" * 98, "1" * 90 + "0" * 10, agreement=0.0)
    assert adjusted_agreement(found).tolist() == pytest.approx([5 / 12, 5 / 100])
    assert adjusted_agreement(found, names=1).tolist() == pytest.approx([15 / 32, 5 / 100])
    nothing = evidence("00", "11", coherence=float("nan"), zero_shot=float("nan"))
    assert seen(nothing).tolist() == [0.5, 0.5]


def test_phrases_with_a_word_of_style_go_with_it():
    words = ["outline", "box outline", "box"]
    columns = ["1" * 60 + "0" * 60, "1" * 5 + "0" * 115, "1" * 10 + "0" * 110]
    found = evidence(*columns, agreement=[0.0, 1.0, 1.0])
    pruned = prune(words, frequency(found, words), found)
    assert pruned.kept == ("box",)
    assert reasons(pruned)["box outline"] == (pruning.HOLDS_STYLE, "outline")


def test_lists_are_no_phrases():
    words, found = ["clothes clothing", "parking lot"], evidence("1110", "0111", together=[False, True])
    pruned = prune(words, frequency(found, words), found)
    assert pruned.kept == ("parking lot",)
    assert reasons(pruned) == {"clothes clothing": (pruning.LIST, "")}


def test_a_word_that_never_stands_alone_goes_and_its_phrase_takes_its_place():
    words = ["parking", "tree", "lot", "bridge", "parking lot"]
    found = evidence("110000", "001100", "110010", "000011", "110000")
    counts = {"parking": 4, "tree": 2, "lot": 5, "bridge": 2, "parking lot": 4}
    pruned = prune(words, counts, found, top=3)
    assert pruned.kept == ("tree", "lot", "parking lot")
    assert reasons(pruned) == {"parking": (pruning.PART, "parking lot"), "bridge": (pruning.SURPLUS, "")}


def test_of_words_on_the_same_pairs_the_first_stays_unless_another_is_seen_clearly_better():
    words = ["biscuit", "cookie", "speed", "fan", "tree"]
    pairs = ["1" * 9 + "0" * 21] * 2 + ["0" * 10 + "1" * 9 + "0" * 11] * 2 + ["0" * 20 + "1" * 10]
    found = evidence(*pairs, zero_shot=[0.93, 0.97, 0.1, 0.95, 0.9])
    pruned = prune(words, frequency(found, words), found)
    assert pruned.kept == ("biscuit", "fan", "tree")
    assert reasons(pruned) == {"cookie": (pruning.SAME, "biscuit"), "speed": (pruning.SAME, "fan")}
    pruned = prune(words, frequency(found, words), found, top=2)
    assert pruned.kept == ("biscuit", "fan")  # in the place of "speed", before "tree"


def test_names_are_trusted():
    words = ["sky", "weather", "one pair", "outline", "land vehicle", "vehicle", "sun"]
    columns = (
        ["1" * 20 + "0" * 60] * 2 + ["1" + "0" * 79] + ["01" * 20 + "0" * 40] + ["0" * 60 + "1" * 8 + "0" * 12] * 2
    )
    found = evidence(*columns, "0" * 70 + "1" * 9 + "0", agreement=[0.3, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    pruned = prune(words, frequency(found, words), found, names=5, top=4)
    assert pruned.kept == ("sky", "weather", "one pair", "land vehicle")  # no name is surplus
    assert reasons(pruned) == {
        "outline": (pruning.STYLE, "agreement 0.30, seen 0.69"),
        "vehicle": (pruning.PART, "land vehicle"),
        "sun": (pruning.SURPLUS, ""),
    }


def test_every_proposal_is_accounted_for_whatever_the_figures_are():
    draw = np.random.default_rng(0)
    for _ in range(30):
        count, total = int(draw.integers(1, 12)), int(draw.integers(2, 30))
        words = [" ".join(draw.choice(["a", "b", "c", "d"], draw.integers(1, 4))) for _ in range(count)]
        words = list(dict.fromkeys(words))
        columns = ["".join(draw.choice(["0", "1"], total)) for _ in words]
        figures = {name: draw.random(len(words)).tolist() for name in ("agreement", "coherence", "zero_shot")}
        found = evidence(*columns, **figures)
        names, top = int(draw.integers(0, 3)), int(draw.integers(1, 8))
        pruned = prune(words, frequency(found, words), found, min(names, len(words)), top)
        assert sorted([*pruned.kept, *reasons(pruned)]) == sorted(words)
        assert list(pruned.kept) == [word for word in words if word in pruned.kept]
        assert sum(len(listed) for _, listed in pruned.by_reason()) == len(pruned.dropped)


THINGS = {"airport": "runway", "beach": "sand", "forest": "canopy", "desert": "dunes"}


def drawing(thing: int, styled: bool) -> bytes:
    """A picture in the colour of the thing, with an edge where it is drawn in outline."""
    pixels = np.full((32, 32, 3), 60 * thing, np.uint8)
    pixels[:, :, thing % 3] = 250
    if styled:
        pixels[:4], pixels[:, :4] = 0, 0
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def shards(folder, count: int = 64):
    """Four things, half of each in outline, which the captions say."""
    members = []
    for index, (thing, said) in zip(range(count), itertools.cycle(enumerate(THINGS.items()))):
        styled = index // len(THINGS) % 2 == 0
        caption = f"{said[0]} with {said[1]}, number{index}" + (", outline" if styled else "")
        members += [(f"k{index}.png", drawing(thing, styled)), (f"k{index}.txt", caption.encode())]
    write_tar(folder / "000000.tar", members)
    return folder


@pytest.fixture(scope="module")
def start_model(tmp_path_factory, tiny_model):
    """(--model, --pretrained) of a model with random weights."""
    import open_clip

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("start") / "weights.pt"
    torch.save(open_clip.create_model(tiny_model).state_dict(), path)
    return ("--model", tiny_model, "--pretrained", str(path))


def run(folder, out, *flags) -> int:
    return main(["keywords", str(folder), "--out", str(out), *map(str, flags)])


@pytest.mark.parametrize("method", ["yake", "frequency", "tfidf", "nouns", "embedding"])
def test_pruned_keywords_of_shards(tmp_path, capsys, start_model, method):
    folder = shards(tmp_path / "paired")
    flags = ("--method", method, "--top", 6, "--max-words", 1, "--prune", *start_model)
    assert run(folder, tmp_path / "k.txt", *flags) == 0
    said = capsys.readouterr().out
    vocabulary = Vocabulary.load(tmp_path / "k.txt")
    assert "outline" not in vocabulary.keywords
    assert 1 <= len(vocabulary) <= 6
    assert all(THINGS.get(word, word) in THINGS.values() for word in vocabulary if not word.startswith("number"))
    lines = (tmp_path / "k.txt").read_text().splitlines()
    dropped = [line for line in lines if line.startswith("# dropped: ")]
    assert f"{len(vocabulary) + len(dropped)} proposals: {len(vocabulary)} kept, {len(dropped)} dropped" in said
    assert len([line for line in dropped if line.startswith(f"# dropped: outline: {pruning.STYLE} (agreement ")]) == 1
    assert f"dropped, {pruning.STYLE} (1): outline (agreement " in said
    assert "64 of 64 pairs are looked at\n" in said
    assert " --prune --model " in lines[0]
    assert lines[1].startswith(f"# {len(vocabulary)} keywords out of 64 captions")


def test_pruned_class_names(tmp_path, capsys, start_model):
    folder = shards(tmp_path / "paired")
    (tmp_path / "names.txt").write_text("forest\nglacier\nOutline\ndesert\n")
    flags = ("--method", "classes", "--classes", tmp_path / "names.txt", "--prune", *start_model)
    assert run(folder, tmp_path / "k.txt", *flags) == 0
    assert Vocabulary.load(tmp_path / "k.txt").keywords == ["forest", "desert"]
    said = capsys.readouterr().out
    assert f"dropped, {pruning.NO_CAPTION} (1): glacier" in said
    assert "4 proposals: 2 kept, 2 dropped" in said


def test_class_names_then_phrases(tmp_path, capsys):
    folder = shards(tmp_path / "paired")
    (tmp_path / "names.txt").write_text("Glacier\nForests\nBeach\n")

    def keywords(*more) -> list[str]:
        named = ("--method", "classes+yake", "--classes", tmp_path / "names.txt")
        assert run(folder, tmp_path / "k.txt", *named, "--max-words", 1, "--min-count", 2, *more) == 0
        return Vocabulary.load(tmp_path / "k.txt").keywords

    found = keywords("--top", 12)
    assert found[:3] == ["Glacier", "Forests", "Beach"]
    assert set(found[3:]) == {"airport", "desert", "runway", "sand", "canopy", "dunes", "outline"}
    assert "near-duplicates left out: forest (--keep" in capsys.readouterr().out  # "beach" is the name itself
    first = (tmp_path / "k.txt").read_text().splitlines()[0]
    assert first.startswith("# sclip keywords --method classes+yake --top 12 ")
    assert first.endswith(f" --classes {tmp_path / 'names.txt'}")
    assert keywords("--top", 5) == found[:5]
    assert set(keywords("--keep-variants")) == {*found, "forest"}


def test_pruned_class_names_and_phrases(tmp_path, capsys, start_model):
    folder = shards(tmp_path / "paired")
    (tmp_path / "names.txt").write_text("Beach\nGlacier\n")
    flags = ("--method", "classes+yake", "--classes", tmp_path / "names.txt", "--max-words", 1, "--top", 4)
    assert run(folder, tmp_path / "k.txt", *flags, "--prune", *start_model) == 0
    keywords = Vocabulary.load(tmp_path / "k.txt").keywords
    assert keywords[0] == "Beach"
    assert "sand" not in keywords  # the same pairs
    assert "outline" not in keywords
    assert "10 proposals: 4 kept, 6 dropped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (("--prune",), 2, "--prune needs --model"),
        (("--prune", "--model", "RN50"), 2, "--pretrained is missing: --model RN50 alone has random weights"),
        (("--prune", "--model", "local-dir:gone"), 1, "--model local-dir:gone: no open_clip_config.json"),
        (("--model", "RN50"), 2, "--model needs --method embedding or --prune"),
        (("--pretrained", "openai"), 2, "--pretrained needs --method embedding or --prune"),
        (("--method", "embedding", "--model", "RN50"), 2, "--pretrained is missing"),
        (("--method", "classes+yake"), 2, "--method classes+yake takes its names from --recipe NAME or from --classes"),
        (("--method", "classes+yake", "--recipe", "aid", "--classes", "x"), 2, "takes its names from --recipe NAME or"),
        (("--method", "classes+yake", "--classes", "gone.txt"), 1, "--classes gone.txt: No such file"),
        (("--method", "classes+yake", "--recipe", "aid", "--top", 5), 2, "--top 5 leaves no room for phrases beside"),
        (("--classes", "x"), 2, "--classes needs --method classes or classes+yake"),
    ],
)
def test_wrong_usage(tmp_path, capsys, flags, status, message):
    assert run(shards(tmp_path / "paired", 8), tmp_path / "k.txt", *flags) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "k.txt").exists()


def test_pruning_needs_shards(tmp_path, capsys, start_model):
    out = ("keywords", "--out", str(tmp_path / "k.txt"), "--prune", *start_model)
    assert main([*out, "--method", "classes", "--recipe", "aid"]) == 2
    assert "SHARDS is missing, whose pairs --prune looks at" in capsys.readouterr().err
    assert main(list(out)) == 2
    assert "SHARDS is missing" in capsys.readouterr().err


def test_pruning_needs_images(tmp_path, capsys, start_model):
    texts = [(f"k{n}.txt", b"a tree by the river") for n in range(4)]
    write_tar(tmp_path / "bare/000000.tar", texts)
    write_tar(tmp_path / "broken/000000.tar", [*texts[:1], ("k0.png", b"no image"), *texts[1:]])
    for name, found in (("bare", "4 × no image"), ("broken", "3 × no image, 1 × undecodable image")):
        assert run(tmp_path / name, tmp_path / "k.txt", "--prune", *start_model) == 1
        error = capsys.readouterr().err
        assert f"{tmp_path / name}: --prune looks at images and finds none to use ({found})" in error
        assert error.count("\n") == 1
    assert not (tmp_path / "k.txt").exists()


def test_a_set_without_anything_to_keep(tmp_path, capsys, start_model):
    members = [(f"k{n}.{suffix}", data) for n in range(3) for suffix, data in (("png", picture(n)), ("txt", b"a tree"))]
    write_tar(tmp_path / "paired/000000.tar", members)
    assert run(tmp_path / "paired", tmp_path / "k.txt", "--prune", *start_model) == 1
    captured = capsys.readouterr()
    assert f"dropped, {pruning.NEARLY_ALL} (1): tree (100%)" in captured.out
    assert "--prune drops all 1 proposals" in captured.err
    assert not (tmp_path / "k.txt").exists()


class Mean:
    """An encoder whose features are the mean colour; counts its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def images(self, pixels: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(pixels))
        return torch.nn.functional.normalize(pixels.mean(dim=(2, 3)), dim=1)


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()


def test_of_many_pairs_evenly_spaced_ones_are_looked_at(tmp_path):
    members = [
        (f"k{n}.{suffix}", data)
        for n in range(100)
        for suffix, data in (("png", b"damaged" if n == 30 else picture(n)), ("txt", f"pair {n}".encode()))
    ]
    for shard in range(2):
        write_tar(tmp_path / f"paired/{shard}.tar", members[100 * shard : 100 * shard + 100])
    encoder, folder = Mean(), expand(str(tmp_path / "paired"), "SHARDS")
    found = pair_features(folder, encoder, to_tensor, most=10)
    assert [one[0] for one in found.captions] == [f"pair {n}" for n in range(0, 100, 10) if n != 30]
    assert found.images.shape == (9, 3)
    assert found.samples == 100
    assert found.skipped == Counter({"undecodable image": 1})
    everything = pair_features(folder, encoder, to_tensor)
    assert len(everything.captions) == 99
    assert encoder.batches == [9, 64, 35]
    write_tar(tmp_path / "one/0.tar", members[60:62])
    damaged = expand(str(tmp_path / "one"), "SHARDS")
    with pytest.raises(DataError, match=r"--prune looks at images and finds none to use \(1 × undecodable image\)"):
        pair_features(damaged, encoder, to_tensor)


def test_what_is_left_out_of_many_pairs_is_said(tmp_path, capsys, start_model, monkeypatch):
    from sclip_plugin.shards.keywords import pair_features as module

    monkeypatch.setattr(module.pair_features, "__defaults__", (32,))
    assert run(shards(tmp_path / "paired"), tmp_path / "k.txt", "--prune", "--max-words", 1, *start_model) == 0
    assert "32 of 64 pairs are looked at, evenly spaced\n" in capsys.readouterr().out
