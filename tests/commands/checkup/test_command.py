"""`sclip checkup` on shards whose agreement is made: what the advice is, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sclip_plugin import cli
from sclip_plugin.commands.checkup.samples import spread
from tests.evaluation.sets import model_with_weights
from tests.helpers.shards import picture, write_tar

CONCEPTS = 25  # each a word of its own, in 4 of 100 pairs: no word is common
PAIRS = 4 * CONCEPTS
SET_PARTS = (("train", "paired"), ("unpaired", "unpaired"))


def sample(key: str, seed: int, caption: str | None, **about) -> list[tuple[str, bytes]]:
    members = [(f"{key}.png", picture(seed))]
    if caption is not None:
        members.append((f"{key}.txt", caption.encode()))
    return [*members, (f"{key}.json", json.dumps(about).encode())]


def write(root: Path, pairs: list, unpaired: list) -> Path:
    """Two shards of each part."""
    for part, samples in (("paired", pairs), ("unpaired", unpaired)):
        for shard in range(2):
            write_tar(root / part / f"{shard:06d}.tar", [member for one in samples[shard::2] for member in one])
    return root


def concept(number: int) -> str:
    return f"word{number % CONCEPTS}"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return model_with_weights(tmp_path_factory.mktemp("model"))


def checkup(root: Path, model: str, tmp_path: Path, *more: str) -> dict:
    """Run it; returns the figures."""
    words = [str(root), "--model", model, "--device", "cpu", "--out", str(tmp_path / "c.png"), "--batch-size", "50"]
    assert cli.main(["checkup", *words, "--json", str(tmp_path / "c.json"), *more]) == 0
    return json.loads((tmp_path / "c.json").read_text())


def said(capsys) -> str:
    """What was printed, with its lines joined."""
    return " ".join(capsys.readouterr().out.split())


def test_same_words_for_same_pictures_help(model, tmp_path, capsys):
    """Each word has a picture of its own, which unpaired images show too."""
    pairs = [sample(f"p{i}", i % CONCEPTS, f"a {concept(i)} of kind alone{i}") for i in range(PAIRS)]
    unpaired = [sample(f"u{i}", i % CONCEPTS, None) for i in range(30)]
    keywords = tmp_path / "keywords.txt"
    keywords.write_text("kind\nnowhere\n" + "".join(f"{concept(i)}\n" for i in range(CONCEPTS)))
    found = checkup(write(tmp_path, pairs, unpaired), model, tmp_path, "--keywords", str(keywords))
    assert found["advice"]["verdict"] == "published"
    captions = found["captions"]
    assert captions["right"]["pairs"] == captions["right"]["unpaired"] == 1
    assert captions["right_in_batch"]["unpaired"] > 0.8  # three of the 99 others fit, and half of them are in a batch
    assert captions["chance"] == pytest.approx(3 / 99)
    reference = found["reference"]  # what the advice goes by, whatever --batch-size is
    assert reference["batch"] == 32
    assert reference["captions"]["right_in_batch"]["pairs"] == pytest.approx(1 - 67 * 66 * 65 / (99 * 98 * 97))
    assert found["too_common"] == [["kind", 1.0]]
    assert found["vocabulary"]["generic"] == [["kind", 1.0]]
    assert found["vocabulary"]["absent"] == ["nowhere"]
    assert found["keywords"]["right"]["pairs"] == 1  # `kind`, which all have, does not count
    assert found["gap"]["beyond"] == 0
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    text = said(capsys)
    assert "100 pairs, 30 unpaired images" in text
    assert "Advice: S-CLIP can help classification here" in text
    assert "more common (see --common): kind 100%" in text


def test_a_caption_of_its_own_for_each_picture_does_not(model, tmp_path, capsys):
    pairs = [sample(f"p{i}", i, f"a thing alone{i}") for i in range(40)]
    unpaired = [sample(f"u{i}", 1000 + i, None) for i in range(30)]
    found = checkup(write(tmp_path, pairs, unpaired), model, tmp_path)
    assert found["advice"]["verdict"] == "supervised"
    assert found["captions"]["right"]["unpaired"] == 0
    assert found["keywords"] is None
    text = said(capsys)
    assert "stay with supervised fine-tuning (--loss clip)" in text
    assert "For the other 100% no start model could find a caption that fits" in text


def test_words_without_likeness_ask_for_another_start_model(model, tmp_path, capsys):
    """Every word is in four captions, but no picture is like another."""
    pairs = [sample(f"p{i}", i, f"a {concept(i)}") for i in range(PAIRS)]
    unpaired = [sample(f"u{i}", 1000 + i, None) for i in range(30)]
    found = checkup(write(tmp_path, pairs, unpaired), model, tmp_path)
    assert found["advice"]["verdict"] == "start-model"
    assert found["captions"]["reachable_in_batch"]["unpaired"] > 0.8
    assert "the start model tells these images apart badly" in said(capsys)


def test_pairs_of_one_group_do_not_speak_for_each_other(model, tmp_path, capsys):
    """Two copies of each pair: without the groups every nearest pair would fit."""
    pairs = [sample(f"p{i}", i // 2, f"a thing alone{i // 2}", group=f"g{i // 2}") for i in range(40)]
    unpaired = [sample(f"u{i}", 1000 + i, None, group=f"u{i}") for i in range(10)]
    found = checkup(write(tmp_path, pairs, unpaired), model, tmp_path)
    assert (found["groups"], found["captions"]["right"]["pairs"]) == (20, 0)
    assert "there are 20 groups" in said(capsys)


def test_a_limit_and_what_was_skipped_are_said(model, tmp_path, capsys):
    pairs = [sample(f"p{i}", i, f"thing{i}" if i != 2 else None) for i in range(60)]
    unpaired = [sample(f"u{i}", 1000 + i, None) for i in range(10)]
    found = checkup(write(tmp_path, pairs, unpaired), model, tmp_path, "--limit", "40")
    assert found["pairs"] == {"encoded": 39, "total": 60, "skipped": {"no caption": 1}}
    text = said(capsys)
    assert "39 of 60 pairs (the same share of every shard, see --limit), 10 unpaired images" in text
    assert "skipped pairs: 1 × no caption" in text


@pytest.mark.parametrize(
    ("sizes", "limit", "expected"),
    [([5, 5], 10, [5, 5]), ([5, 5], 99, [5, 5]), ([10, 30], 4, [1, 3]), ([1] * 6, 3, [0, 1, 0, 1, 0, 1])],
)
def test_every_shard_gives_its_share(sizes, limit, expected):
    import numpy as np

    assert spread(np.array(sizes), limit).tolist() == expected


def test_patterns_in_place_of_the_folder(model, shards, tmp_path):
    words = ["--train-data", str(shards / "paired"), "--unpaired-data", str(shards / "unpaired"), "--device", "cpu"]
    assert cli.main(["checkup", *words, "--model", model, "--out", str(tmp_path / "c.png")]) == 0


def test_a_set_of_unknown_size_is_read_up_to_the_limit(model, shards, tmp_path, capsys):
    words = [f"--{part}-data=pipe:cat {shards}/{folder}/000000.tar" for part, folder in SET_PARTS]
    limit = ["--device", "cpu", "--out", str(tmp_path / "c.png"), "--limit", "10"]
    assert cli.main(["checkup", *words, "--model", model, *limit]) == 0
    assert "10 pairs (of a set of unknown size, see --limit), 10 unpaired images (of a set" in said(capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--train-data is missing: pass SHARDS, or --train-data and --unpaired-data"),
        (["--train-data", "{shards}/paired"], "--unpaired-data is missing"),
        (["{shards}", "--train-data", "x"], "SHARDS and --train-data exclude each other"),
        (["{shards}", "--out", "c.jpg"], "--out c.jpg: the name must end in .png"),
        (["{shards}", "--json", "c.txt"], "--json c.txt: the name must end in .json"),
        (["{shards}", "--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["{shards}", "--limit", "60000"], "--limit must be at most 50000, got 60000"),
        (["{shards}", "--workers", "2000"], "--workers must be at most 1024, got 2000"),
        (["{shards}", "--common", "0"], "--common must be above 0 and at most 1, got 0.0"),
        (["{shards}", "--language", "xx"], "--language: no stop-word list for 'xx'"),
    ],
)
def test_refused(words, message, model, shards, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["checkup", "--model", model, *(word.format(shards=shards) for word in words)]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_data_that_cannot_be_used(model, shards, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["checkup", str(shards / "paired"), "--model", model]) == 1
    assert "no folder paired/ there; see --train-data and --unpaired-data" in capsys.readouterr().err
    few = write(tmp_path / "few", [sample("p", 1, "a thing"), sample("q", 2, "a thing")], [sample("u", 3, None)] * 2)
    assert cli.main(["checkup", str(few), "--model", model, "--device", "cpu"]) == 1
    assert "SHARDS: 2 usable pairs; a checkup needs 10 at least" in capsys.readouterr().err
    none = write(tmp_path / "none", [sample("p", 1, None)] * 2, [sample("u", 3, None)] * 2)
    assert cli.main(["checkup", str(none), "--model", model, "--device", "cpu"]) == 1
    assert "no usable sample in" in (text := capsys.readouterr().err)
    assert "2 × no caption" in text


def test_damaged_weights_are_named(shards, tmp_path, capsys):
    name = model_with_weights(tmp_path / "model")
    weights = tmp_path / "model" / "open_clip_model.safetensors"
    state = load_file(weights)
    state["visual.proj"] = torch.full_like(state["visual.proj"], float("nan"))
    save_file(state, weights)
    assert cli.main(["checkup", str(shards), "--model", name, "--device", "cpu"]) == 1
    assert "the model gives features that are not finite numbers" in capsys.readouterr().err
