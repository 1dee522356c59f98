"""What is written comes back: captions, labels and names through a conversion, keywords through their file, keys."""

import io
import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sclip_plugin.cli import main
from sclip_plugin.data import tar
from sclip_plugin.errors import DataError
from sclip_plugin.keywords import Vocabulary, words
from sclip_plugin.shards.keywords.keyword_file import file_text
from sclip_plugin.shards.readers.base import clean_caption
from tests.helpers.conversion import check_counts, image, members, write_csv

quick = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=30)
LABEL = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=20).filter(
    lambda text: text == " ".join(text.split()) != ""
)


def quiet(*argv: object) -> int:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return main([str(word) for word in argv])


def fresh(folder: Path, count: int) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number}.png").write_bytes(image(number, "PNG"))
    return folder


def write(folder: Path, form: str, rows: list[dict[str, str]]) -> Path:
    if form == "csv":
        return write_csv(folder / "data.csv", [tuple(row.values()) for row in rows], tuple(rows[0]))
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=len(rows) % 2 == 0) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@quick
@given(texts=st.lists(TEXT, min_size=1, max_size=4))
def test_captions_come_back_or_are_counted(tmp_path, form, texts):
    folder = fresh(tmp_path / "in", len(texts))
    rows = [{"image": f"{number}.png", "caption": text} for number, text in enumerate(texts)]
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    status = quiet("convert", write(folder, form, rows), "--out", tmp_path / "out", "--val-ratio", 0)
    expected = {f"{number}.png": clean for number, text in enumerate(texts) if (clean := clean_caption(text))}
    if not expected:
        assert status == 1
        return
    assert status == 0
    counts = check_counts(tmp_path / "out")["captions"]
    assert counts["read"] == len(texts)
    assert counts["written"] == {"paired": len(expected)}
    found = {}
    for sample in members(tmp_path / "out" / "paired").values():
        about = json.loads(sample["json"])
        assert about["captions"] == [sample["txt"].decode()]
        found[about["source"]] = about["captions"][0]
    assert found == expected


@quick
@given(labels=st.lists(LABEL, min_size=2, max_size=5, unique=True))
def test_labels_come_back_by_their_numbers(tmp_path, labels):
    folder = fresh(tmp_path / "in", len(labels))
    rows = [{"image": f"{number}.png", "caption": "a thing", "label": text} for number, text in enumerate(labels)]
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    table = write(folder, "jsonl", rows)
    out = tmp_path / "out" / "things"
    line = ["convert", table, "--out", tmp_path / "out", "--as", "classification", "things", "--label-column", "label"]
    assert quiet(*line) == 0
    classes = (out / "classnames.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert sorted(classes) == sorted(labels)
    for sample in members(out / "test").values():
        about = json.loads(sample["json"])
        assert classes[int(sample["cls"])] == about["label"] == labels[int(about["source"].removesuffix(".png"))]
    assert quiet("verify", out) == 0


@quick
@given(
    names=st.lists(
        st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=12),
        min_size=1,
        max_size=5,
        unique=True,
    )
)
def test_every_name_gets_a_key_of_its_own(tmp_path, names):
    folder = fresh(tmp_path / "in", 0)
    names = [name for name in names if not name.startswith(".")]
    for number, name in enumerate(names):
        (folder / f"{name}.png").write_bytes(image(number, "PNG"))
    there = sorted(path.name for path in folder.iterdir())  # a file system may hold two names for equal
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    status = quiet("convert", folder, "--out", tmp_path / "out", "--from", "folder")
    if not names:
        assert status == 1
        return
    assert status == 0
    found = members(tmp_path / "out" / "unpaired")
    assert sorted(json.loads(sample["json"])["source"] for sample in found.values()) == there
    assert all(tar.split_key(f"{key}.jpg") == (key, "jpg") and key.isascii() for key in found)


@quick
@given(found=st.lists(LABEL, min_size=1, max_size=8))
def test_a_keyword_file_says_what_was_written(tmp_path, found):
    kept = [text for text in found if words(text) and not text.startswith("#") and "\t#" not in text]
    kept = list({words(text): text for text in kept}.values())
    path = tmp_path / "keywords.txt"
    path.write_text(file_text("by hand", kept), encoding="utf-8")
    if not kept:
        with pytest.raises(DataError, match="no keywords"):
            Vocabulary.load(path)
        return
    assert Vocabulary.load(path).keywords == kept
    assert all(Vocabulary.load(path).indices(f"with {text}, once") for text in kept)


@quick
@given(
    folders=st.lists(st.from_regex(r"[^/\x00]+", fullmatch=True), max_size=2),
    stem=st.from_regex(r"[^/.\x00]+", fullmatch=True),
    suffix=st.from_regex(r"[a-z0-9]+(\.[a-z]+)?", fullmatch=True),
)
def test_a_member_name_is_split_at_the_first_dot_of_its_last_part(folders, stem, suffix):
    key = "/".join([*folders, stem])
    assert tar.split_key(f"{key}.{suffix}") == (key, suffix)
    assert tar.split_key(f"{key}.{suffix.upper()}") == (key, suffix)
    assert tar.split_key(key)[0] is None
