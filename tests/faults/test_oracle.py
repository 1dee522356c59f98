"""The oracle notices what it is there for, and the fuzzer's tries depend on nothing but seed, family and number."""

import random
import tarfile

import pytest

from tests.faults import oracle
from tests.faults.archives import Member, read, write
from tests.faults.call import Reply, call
from tests.faults.damage import Damage
from tests.faults.values import DEEP, break_document, encode


def reply(status: int | None = 0, out: str = "", err: str = "", crash: str = "") -> Reply:
    return Reply(status, out, err, crash, 0.0)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (reply(0), None),
        (reply(1, err="sclip convert: in/a.csv: empty\n"), None),
        (reply(2, err="sclip convert: --seed must be a number\n"), None),
        (reply(1, err="sclip convert: it did not work\n"), "neither file nor flag"),
        (reply(1, err="sclip convert: in/a.csv:\nempty\n"), "2 lines"),
        (reply(1, err="sclip convert: in/a.csv: \x1b[31m\n"), "control characters"),
        (reply(1), "0 lines"),
        (reply(3, err="sclip convert: in/a.csv\n"), "exit status 3"),
        (reply(0, err="lib/PIL/Image.py:3: Warning: large\n"), "after success"),
        (reply(1, err="Traceback (most recent call last):\nKeyError: 3\n"), "traceback: KeyError: 3"),
        (reply(None, crash="Traceback\nKeyError: 'images'"), "not handled: KeyError"),
    ],
)
def test_how_a_command_may_end(said, problem):
    found = list(oracle.manners(said, ["convert", "in/a.csv"], {"a.csv"}))
    assert len(found) == (problem is not None)
    assert problem is None or problem in found[0]


def test_what_vanishes_uncounted_is_seen():
    sound = reply(out="images: 10 read = 10 written + 0 skipped\ncaptions: 20 read = 18 written + 2 skipped\n")
    swallowed = reply(out="images: 10 read = 10 written + 0 skipped\ncaptions: 16 read = 16 written + 0 skipped\n")
    (problem,) = oracle.losses(Damage("quote", lost=(1, 1)), swallowed, sound)
    assert problem.startswith("4 captions vanished uncounted, of 20")
    assert not list(oracle.losses(Damage("quote", lost=(1, 4)), swallowed, sound))
    aside = reply(out=f"{swallowed.out}note: 1 (not read: a.csv (give the file as SOURCE to read it))\n")
    assert not list(oracle.losses(Damage("quote", "in/a.csv", lost=(1, 1)), aside, sound))
    wrong = reply(out="images: 10 read = 8 written + 1 skipped\n")
    assert "do not add up" in next(oracle.printed_counts(wrong))


def test_what_is_written_elsewhere_is_seen(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("1")
    before = oracle.snapshot(tmp_path)
    (tmp_path / "in" / "a").write_text("2")
    (tmp_path / "out").mkdir()
    (tmp_path / "planted").touch()
    found = list(oracle.untouched(before, oracle.snapshot(tmp_path), ("out",)))
    assert [line.split(":")[0] for line in found] == ["changed outside of the output", "created outside of the output"]


def test_a_call_is_captured_whole(tmp_path):
    import os
    import sys

    def command(argv):
        print("printed")
        os.write(2, b"by a library\n")
        print("é", file=sys.stderr)
        raise SystemExit(2)

    (tmp_path / "tmp").mkdir()
    found = call(command, [], tmp_path)
    assert (found.status, found.out, found.err, found.crash) == (2, "printed\n", "by a library\né\n", "")
    assert "UnicodeEncodeError" in call(lambda _: print("é"), [], tmp_path, ascii_only=True).crash
    assert "ZeroDivisionError" in call(lambda _: 1 // 0, [], tmp_path).crash


def test_tars_are_written_as_the_standard_library_reads_them(tmp_path):
    members = [
        Member("a.jpg", b"x" * 700),
        Member("n" * 150 + ".txt", b"text"),
        Member("b.txt", b"t", pax={"path": "c.txt"}),
    ]
    write(tmp_path / "a.tar", members)
    assert [(one.name, one.data) for one in read(tmp_path / "a.tar")] == [
        ("a.jpg", b"x" * 700),
        ("n" * 150 + ".txt", b"text"),
        ("c.txt", b"t"),
    ]
    members[1].patch = (124, b"-0000001000\0")
    write(tmp_path / "a.tar", members)
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.next().name == "a.jpg"  # the checksum of the damaged header is right, so that it is looked at


def test_damage_is_a_function_of_the_seed():
    document = {"images": [{"filename": f"{n}.jpg", "sentences": [{"raw": "a"}]} for n in range(4)]}

    def broken(seed: int) -> bytes:
        rng = random.Random(seed)
        return encode(break_document(rng, {"images": [dict(one) for one in document["images"]]})[0], rng)

    assert broken(3) == broken(3)
    assert len({broken(seed) for seed in range(30)}) > 20
    assert encode([DEEP], random.Random(0)).count(b"[") > 40
