"""`sclip verify` on members that hold something else than they should: a fault with its place, never a traceback."""

import json

import pytest

from sclip_plugin.cli import main
from tests.helpers.conversion import image
from tests.helpers.formats import tar_of

DEEP = b"[" * 100_000 + b"]" * 100_000
NO_OBJECT, NO_TEXTS = "member .json that is not a JSON object", "captions in .json that are not a list of texts"


def verify(folder, capsys, *flags) -> tuple[int, str]:
    status = main(["verify", str(folder), *flags])
    said = capsys.readouterr()
    assert said.err == ""
    return status, said.out


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'{"captions": 5}', NO_TEXTS),
        (b'{"captions": ["a tree", 5]}', NO_TEXTS),
        (b'{"captions": ["\\ud800"]}', NO_TEXTS),
        (b'{"captions": {"a": 1}}', NO_TEXTS),
        (b'{"captions": ' + DEEP + b"}", NO_OBJECT),
        (b"\xff", NO_OBJECT),
        (b"[1]", NO_OBJECT),
    ],
)
def test_a_damaged_json_is_a_fault_although_there_is_a_txt(tmp_path, capsys, content, fault):
    tar_of(tmp_path / "paired/000000.tar", [("a.jpg", image(1)), ("a.json", content), ("a.txt", b"a tree")])
    status, out = verify(tmp_path, capsys, "--sheet", str(tmp_path / "s.png"))
    assert status == 1
    assert f"fault: 1 ({fault})" in out
    assert "paired/000000.tar: a" in out


def test_in_tars_of_others_it_is_a_note(tmp_path, capsys):
    tar_of(tmp_path / "x/0.tar", [("a.jpg", image(1)), ("a.json", b"[1]"), ("a.txt", b"a tree")])
    status, out = verify(tmp_path / "x", capsys)
    assert status == 0
    assert f"note: 1 ({NO_OBJECT})" in out


def test_names_that_are_no_utf8_and_names_with_line_ends(tmp_path, capsys):
    for number in range(2):
        name = b"caf\xe9".decode("utf-8", "surrogateescape")
        found = [(f"{name}.jpg", image(number)), (f"{name}.txt", b"a"), ("a\nb", b"no sample")]
        tar_of(tmp_path / f"paired/{number:06d}.tar", found)
    status, out = verify(tmp_path, capsys)
    assert status == 1
    assert "fault: 1 (key occurs twice)" in out
    assert "000001.tar: a b" in out


def test_a_class_of_thousands_of_digits_is_a_fault(tmp_path, capsys):
    for name, text in (("classnames.txt", "tree\n"), ("dataset_type.txt", "classification\n")):
        (tmp_path / name).write_text(text)
    about = json.dumps({"label": "tree"}).encode()
    tar_of(tmp_path / "test/0.tar", [("a.jpg", image(1)), ("a.cls", b"1" * 5000), ("a.json", about)])
    assert verify(tmp_path, capsys)[0] == 1


def test_a_size_that_no_file_has_is_a_fault(tmp_path, capsys):
    path = tmp_path / "paired/000000.tar"
    tar_of(path, [("a.jpg", image(1)), ("a.txt", b"a tree")])
    data = bytearray(path.read_bytes())
    data[124:136] = b"\x80" + (10**26 % 2**88).to_bytes(11, "big")  # the size in base 256
    path.write_bytes(data)
    status, out = verify(tmp_path, capsys)
    assert status == 1
    assert "fault: 1 (tar cannot be read to its end)" in out
