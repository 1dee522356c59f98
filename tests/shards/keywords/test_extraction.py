"""`sclip keywords`: files that training reads, counts that are right, memory that stays."""

import itertools
import json

import pytest

from sclip_plugin.cli import main
from sclip_plugin.errors import DataError
from sclip_plugin.keywords import Vocabulary
from sclip_plugin.shards.keywords import phrases
from sclip_plugin.shards.keywords.captions import read_captions
from sclip_plugin.shards.keywords.extraction import ExtractionOptions, count, extract
from sclip_plugin.shards.keywords.phrases import (
    METHODS,
    PhraseOptions,
    frequent_phrases,
    noun_phrases,
    tfidf_phrases,
    yake_phrases,
)
from sclip_plugin.shards.keywords.stop_words import stop_words
from sclip_plugin.shards.keywords.variants import merge_variants
from tests.helpers.shards import write_tar

PLACES = ("airport runway", "parking lot", "dense forest", "river bank", "football field", "storage tanks")
OPTIONS = PhraseOptions()


def captions(count: int) -> list[str]:
    colours, sizes = ("green", "grey", "brown"), ("small", "large")
    words = itertools.cycle(itertools.product(PLACES, colours, sizes))
    return [f"A {size} {colour} {place} is near the houses." for place, colour, size in itertools.islice(words, count)]


def shards(folder, texts, number=2):
    """Texts over `number` paired shards; every second sample has its captions in JSON alone besides a first .txt."""
    for shard in range(number):
        members = []
        for index in range(shard, len(texts), number):
            members.append((f"k{index}.jpg", b"not read"))
            members.append((f"k{index}.txt", texts[index].encode()))
            if index % 2:
                members.append(
                    (f"k{index}.json", json.dumps({"captions": [texts[index], "a second caption"]}).encode())
                )
        write_tar(folder / f"{shard:06d}.tar", members)
    return folder


def run(folder, out, *flags) -> int:
    return main(["keywords", str(folder), "--out", str(out), *map(str, flags)])


@pytest.mark.parametrize("method", list(METHODS))
def test_keywords_of_shards(tmp_path, capsys, method):
    folder = shards(tmp_path / "paired", captions(60))
    assert run(folder, tmp_path / "k.txt", "--method", method, "--top", 12) == 0
    vocabulary = Vocabulary.load(tmp_path / "k.txt")
    assert 1 <= len(vocabulary) <= 12
    lines = (tmp_path / "k.txt").read_text().splitlines()
    assert lines[0].startswith(f"# sclip keywords --method {method} --top 12")
    texts = [text for path in sorted(folder.glob("*.tar")) for text in read_captions(str(path))]
    assert len(texts) == 90
    for line in lines[2:]:
        keyword, count = line.split("\t# ")
        assert int(count) == sum(bool(Vocabulary([keyword]).indices(text)) for text in texts) > 0
    held = [len(vocabulary.indices(text)) for text in texts]
    said = capsys.readouterr().out
    assert f"{sum(map(bool, held)) / 90:.1%} of 90 captions" in said
    assert f"{sum(held) / 90:.2f} keywords per caption" in said


def test_pattern_and_folder_give_the_same(tmp_path):
    folder = shards(tmp_path / "paired", captions(40))
    assert run(folder, tmp_path / "a.txt") == 0
    assert run(f"{folder}/{{000000..000001}}.tar", tmp_path / "b.txt") == 0
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()


def test_warnings_of_low_coverage_and_generic_keywords(tmp_path, capsys):
    texts = [f"zebra{n} quagga{n}" for n in range(30)]
    assert run(shards(tmp_path / "paired", texts), tmp_path / "k.txt", "--top", 3) == 0
    assert "hold no keyword" in capsys.readouterr().out
    texts = [f"satellite {place}" for place in PLACES * 3]
    assert run(shards(tmp_path / "other", texts), tmp_path / "k.txt", "--method", "frequency") == 0
    assert "warning: 'satellite' is in" in capsys.readouterr().out


def test_one_chunk_keeps_yakes_order():
    import yake

    text = captions(50)
    theirs = yake.KeywordExtractor(lan="en", n=2, dedup_lim=1.0, top=100).extract_keywords("\n".join(text))
    assert yake_phrases(text, 10, OPTIONS) == [word.lower() for word, _ in theirs[:10]]


def test_chunks_are_merged_and_spellings_too(monkeypatch):
    monkeypatch.setattr(phrases, "CHUNK", 20)
    found = yake_phrases(captions(60) + ["T-shirt folded.", "t shirt folded"] * 10, 30, OPTIONS)
    Vocabulary(found)  # refuses duplicates
    assert len(found) == 30
    assert set(PLACES) & set(found)


def test_yakes_silent_failure_is_an_error(tmp_path, monkeypatch, capsys):
    import yake

    monkeypatch.setattr(yake.KeywordExtractor, "extract_keywords", lambda self, text: [])
    assert run(shards(tmp_path / "paired", captions(10)), tmp_path / "k.txt") == 1
    assert "YAKE finds nothing in 15 captions" in capsys.readouterr().err


def test_frequent_phrases():
    texts = ["the parking lot of a church", "Parking lot, 2 cars", "a church"]
    assert frequent_phrases(texts, 4, OPTIONS) == ["church", "lot", "parking", "parking lot"]
    assert "the" in stop_words("en")


def test_frequent_phrases_drops_rare_ones(monkeypatch):
    monkeypatch.setattr(phrases, "MOST_COUNTED", 10)
    assert frequent_phrases([f"unique{n} forest" for n in range(50)], 1, OPTIONS) == ["forest"]


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (("--top", 0), 2, "--top must be at least 1"),
        (("--max-words", 0), 2, "--max-words must be at least 1"),
        (("--language", "xx"), 2, "--language: no stop-word list for 'xx'"),
        (("--recipe", "aid"), 2, "--recipe needs --method classes"),
        (("--model", "RN50"), 2, "--model needs --method embedding"),
        (("--method", "embedding"), 2, "--method embedding needs --model"),
        (("--method", "classes"), 2, "takes its names from --recipe NAME or from --classes FILE"),
        (("--method", "classes", "--recipe", "nothing"), 2, "no recipe 'nothing'; there are: aid, "),
        (("--method", "classes", "--classes", "gone.txt"), 1, "--classes gone.txt: No such file"),
        (("--method", "classes", "--recipe", "aid", "--top", 5), 2, "--top has no effect on --method classes"),
        (("--method", "classes", "--recipe", "aid", "--top", 0), 2, "--top has no effect on --method classes"),
        (("--stop-words", "gone.txt"), 1, "--stop-words gone.txt: No such file"),
        (("--min-count", 0), 2, "--min-count must be at least 1"),
        (("--min-count", 100), 1, "none of the phrases found occurs in 100 captions as whole words"),
    ],
)
def test_wrong_usage(tmp_path, capsys, flags, status, message):
    assert run(shards(tmp_path / "paired", captions(4)), tmp_path / "k.txt", *flags) == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / "k.txt").exists()


def test_bad_shards(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    write_tar(tmp_path / "bare/000000.tar", [("a.jpg", b"x"), ("a.json", b"{}")])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/000000.tar").write_bytes(b"no tar" * 200)
    for name, message in (("empty", "holds no *.tar"), ("bare", "no captions in 1 shards"), ("broken", "000000.tar")):
        assert run(tmp_path / name, tmp_path / "k.txt") == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("method", ["yake", "frequency"])
def test_captions_of_stop_words_alone(tmp_path, capsys, method):
    write_tar(tmp_path / "paired/000000.tar", [("a.jpg", b"x"), ("a.txt", b"the and of in a")])
    assert run(tmp_path / "paired", tmp_path / "k.txt", "--method", method) == 1
    assert f"--method {method} finds no keyword in 1 captions" in capsys.readouterr().err


def test_processes_change_nothing(monkeypatch, tmp_path):
    folder = shards(tmp_path / "paired", captions(12_000))
    for workers in (1, 2):
        assert run(folder, tmp_path / f"{workers}.txt", "--workers", workers) == 0
    assert (tmp_path / "1.txt").read_bytes() == (tmp_path / "2.txt").read_bytes()


def test_methods_differ_where_they_should():
    texts = [f"satellite view of {place} quickly seen" for place in PLACES * 4] + ["satellite view"] * 40
    frequent, weighed = frequent_phrases(texts, 30, OPTIONS), tfidf_phrases(texts, 30, OPTIONS)
    assert frequent[0] == "satellite"
    assert frequent.index("satellite") < frequent.index("runway")
    score = {word: place for place, word in enumerate(weighed)}
    assert score["dense forest"] < len(PLACES) * 4
    nouns = noun_phrases(texts, 30, OPTIONS)
    assert "dense forest" in nouns
    assert not {"quickly", "seen", "dense"} & set(nouns)
    assert {"quickly", "seen", "dense"} & set(frequent)


def test_tfidf_is_scikit_learns_formula():
    import math

    texts = ["tree tree river", "tree bridge", "tree"]
    weight = {
        "tree": 4 * (math.log(4 / 4) + 1),
        "river": math.log(4 / 2) + 1,
        "bridge": math.log(4 / 2) + 1,
        "tree tree": math.log(4 / 2) + 1,
        "tree river": math.log(4 / 2) + 1,
        "tree bridge": math.log(4 / 2) + 1,
    }
    assert tfidf_phrases(texts, 9, OPTIONS) == sorted(weight, key=lambda word: (-weight[word], word.split()))


def test_near_duplicates_are_merged_into_the_more_frequent(tmp_path, capsys):
    texts = ["green trees"] * 5 + ["a tree"] * 3 + ["city and cities", "bus", "glass"] * 2
    folder = shards(tmp_path / "paired", texts, 1)
    assert run(folder, tmp_path / "k.txt", "--method", "frequency", "--max-words", 1) == 0
    found = set(Vocabulary.load(tmp_path / "k.txt"))
    assert "trees" in found
    assert "tree" not in found
    assert {"bus", "glass"} <= found
    assert len({"city", "cities"} & found) == 1
    assert "near-duplicates left out: " in capsys.readouterr().out
    assert run(folder, tmp_path / "k.txt", "--method", "frequency", "--max-words", 1, "--keep-variants") == 0
    assert {"tree", "trees", "city", "cities"} <= set(Vocabulary.load(tmp_path / "k.txt"))


def test_of_near_duplicates_the_commonest_stands_where_the_best_ranked_one_did():
    ranked, frequency = ["tree", "bus", "trees", "bridge"], {"tree": 2, "trees": 5, "bus": 9, "bridge": 1}
    assert merge_variants(ranked, frequency, "en") == ["trees", "bus", "bridge"]
    assert merge_variants(ranked, frequency, "de") == ranked  # plurals are English's only


def test_stop_words_and_minimum_count(tmp_path):
    texts = ["satellite picture of a forest"] * 5 + ["satellite of a lone pond"]
    folder = shards(tmp_path / "paired", texts, 1)
    (tmp_path / "stop.txt").write_text("Satellite\npicture\n")
    for method in ("yake", "frequency", "tfidf", "nouns"):
        flags = ("--method", method, "--stop-words", tmp_path / "stop.txt", "--min-count", 2)
        assert run(folder, tmp_path / "k.txt", *flags) == 0
        found = set(Vocabulary.load(tmp_path / "k.txt"))
        assert "forest" in found
        assert not {"satellite", "picture", "pond"} & found


def test_classes_of_a_recipe_or_a_file(tmp_path, capsys):
    assert main(["keywords", "--out", str(tmp_path / "k.txt"), "--method", "classes", "--recipe", "rs-all"]) == 0
    found = set(Vocabulary.load(tmp_path / "k.txt"))
    assert {"bare land", "storage tanks", "golf course", "ocean"} <= found
    folder = shards(tmp_path / "paired", captions(30))
    (tmp_path / "classnames.txt").write_text("dense forest\nmeadow\nMeadow\n")
    assert run(folder, tmp_path / "k.txt", "--method", "classes", "--classes", tmp_path / "classnames.txt") == 0
    lines = (tmp_path / "k.txt").read_text().splitlines()
    assert lines[2:] == ["dense forest\t# 6", "meadow\t# 0"]
    assert "coverage: 13.3% of 45 captions" in capsys.readouterr().out


def test_a_recipe_without_class_list_is_named(tmp_path, capsys):
    assert main(["keywords", "--out", str(tmp_path / "k.txt"), "--method", "classes", "--recipe", "fashiongen"]) == 1
    assert "no class names in fashiongen" in capsys.readouterr().err


def test_embedding_asks_the_text_tower(tmp_path, tiny_model, capsys, monkeypatch):
    import open_clip
    import torch

    model = open_clip.create_model(tiny_model)
    path = tmp_path / "weights.pt"
    torch.save(model.state_dict(), path)
    folder = shards(tmp_path / "paired", captions(60))
    flags = ("--method", "embedding", "--model", tiny_model, "--pretrained", path, "--top", 8)
    assert run(folder, tmp_path / "a.txt", *flags) == 0
    torch.manual_seed(1)
    torch.save(
        {
            name: torch.randn_like(value) if value.is_floating_point() else value
            for name, value in model.state_dict().items()
        },
        path,
    )
    monkeypatch.setattr("sclip_plugin.shards.keywords.embedding.MOST_ENCODED", 20)
    assert run(folder, tmp_path / "b.txt", *flags) == 0
    assert "20 of 90 captions are encoded" in capsys.readouterr().out
    assert list(Vocabulary.load(tmp_path / "a.txt")) != list(Vocabulary.load(tmp_path / "b.txt"))


def test_extraction_from_python_needs_no_command_line():
    texts = ["a green tree"] * 3 + ["trees by the river"] * 2 + ["an empty street"]
    counted = extract(texts, ExtractionOptions("frequency", top=4, min_count=2, phrases=PhraseOptions(max_words=1)))
    assert counted.keywords == ("green", "tree", "river")
    assert counted.frequency == {"green": 3, "tree": 3, "river": 2}
    assert counted.left_out == ("trees",)
    assert counted.histogram.tolist() == [1, 2, 3, 0]
    assert counted.captions == 6
    assert counted.coverage == pytest.approx(5 / 6)
    assert counted.per_caption == pytest.approx(8 / 6)
    named = count(["river", "meadow"], texts)
    assert named.frequency == {"river": 2, "meadow": 0}
    assert named.histogram.tolist() == [4, 2, 0]
    with pytest.raises(DataError, match="mine: --method frequency finds no keyword in 1 captions"):
        extract(["the"], ExtractionOptions("frequency"), "mine")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PhraseOptions(max_words=0), "max_words must be at least 1, got 0"),
        (lambda: PhraseOptions(language="xx"), "language must be one of .*, got 'xx'"),
        (lambda: ExtractionOptions(top=0), "top must be at least 1, got 0"),
        (lambda: ExtractionOptions(min_count=0), "min_count must be at least 1, got 0"),
        (lambda: ExtractionOptions("best"), "method must be one of yake, .*, embedding, got 'best'"),
        (lambda: ExtractionOptions("embedding"), "'embedding' needs a text_tower"),
    ],
)
def test_impossible_options_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("flag", ["--stop-words", "--classes"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"caf\xe9\n", "not UTF-8 text (invalid continuation byte at byte 3)"),
        (b"a\n\0b\n", "line 2 holds a NUL byte"),
        (b"x" * 20_000, "line 1 has 20000 characters"),
        (None, "Is a directory"),
    ],
)
def test_damaged_lists_of_words_are_named(tmp_path, capsys, flag, content, message):
    folder = shards(tmp_path / "paired", captions(6))
    path = tmp_path / "list.txt"
    path.mkdir() if content is None else path.write_bytes(content)
    flags = ("--method", "classes") if flag == "--classes" else ()
    assert run(folder, tmp_path / "k.txt", flag, path, *flags) == 1
    error = capsys.readouterr().err
    assert f"{flag} {path}: {message}" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "k.txt").exists()


def test_class_names_become_a_file_that_says_the_same(tmp_path):
    folder = shards(tmp_path / "paired", captions(6))
    names = tmp_path / "a\nb.txt"
    names.write_text("#1 dense forest\nriver\t# bank\nparking lot\n")
    assert run(folder, tmp_path / "k.txt", "--method", "classes", "--classes", names) == 0
    assert Vocabulary.load(tmp_path / "k.txt").keywords == ["1 dense forest", "river # bank", "parking lot"]
