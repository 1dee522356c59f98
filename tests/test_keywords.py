"""Vocabulary: which keywords a caption holds."""

import random

import pytest
import torch

from sclip_plugin.errors import DataError
from sclip_plugin.keywords import Vocabulary, words


def test_whole_words_phrases_and_overlaps():
    vocabulary = Vocabulary(["parking lot", "parking", "lot", "tree", "trees", "São Paulo", "T-shirt"])

    def found(caption):
        row = vocabulary.matches(caption)
        assert row.dtype == torch.bool
        assert row.shape == (7,)
        return [vocabulary.keywords[k] for k in row.nonzero()[:, 0].tolist()]

    assert found("A PARKING lot, with trees.") == ["parking lot", "parking", "lot", "trees"]
    assert found("parking-lot") == ["parking lot", "parking", "lot"]
    assert found("the lot of street parking") == ["parking", "lot"]
    assert found("treetops and allotments") == []
    assert found("SÃO PAULO by night; a t shirt") == ["São Paulo", "T-shirt"]
    assert found("") == []


def test_matching_equals_a_search_for_each_keyword():
    rng = random.Random(0)
    letters = ["a", "b", "c", "d"]
    keywords = {" ".join(rng.choices(letters, k=rng.randint(1, 4))) for _ in range(60)}
    vocabulary = Vocabulary(sorted(keywords))
    for _ in range(100):
        caption = " ".join(rng.choices(letters, k=rng.randint(0, 12)))
        slow = [f" {keyword} " in f" {caption} " for keyword in vocabulary]
        assert vocabulary.matches(caption).tolist() == slow


def test_file_format(tmp_path):
    path = tmp_path / "k.txt"
    path.write_text("\ufeff# made by hand\n\n  parking lot \t# 12\nC#\ntree\t#\n", encoding="utf-8")
    assert Vocabulary.load(path).keywords == ["parking lot", "C#", "tree"]


def test_refusals(tmp_path):
    with pytest.raises(DataError, match=r"keyword file .*nothing\.txt: No such file"):
        Vocabulary.load(tmp_path / "nothing.txt")
    (tmp_path / "bad.txt").write_bytes(b"tree\n\xff\xfe\n")
    with pytest.raises(DataError, match="not UTF-8 text .* at byte 5"):
        Vocabulary.load(tmp_path / "bad.txt")
    with pytest.raises(DataError, match="duplicate keyword: keyword 1 .* and keyword 2"):
        Vocabulary(["Tree", "tree!"])


def test_words_is_the_one_splitter():
    assert words("Trees, don't_stop: 2x4!") == ("trees", "don", "t", "stop", "2x4")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"tree\nri\0ver\n", "line 2 holds a NUL byte"),
        (b"tree\n" + b"x" * 20_000, "line 2 has 20000 characters"),
        (b"\0" * 100, "line 1 holds a NUL byte"),
        (b"\xff\xfe", "not UTF-8 text"),
        (b"", "no keywords"),
        (b"# a\n!\n", "has no letter or digit"),
    ],
)
def test_files_that_are_no_keyword_files_are_refused(tmp_path, content, message):
    (tmp_path / "k.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        Vocabulary.load(tmp_path / "k.txt")
