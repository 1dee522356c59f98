"""Study files run commands, so that one from elsewhere needs its user's word."""

from pathlib import Path

import pytest

from sclip_plugin import cli
from sclip_plugin.commands import study as command
from sclip_plugin.commands.study import spec
from sclip_plugin.commands.study.trust import sources

EVIL = """
[[prepare]]
run = "python -c 'print(1)\\r\\u001b[2K' $out"
[train]
model = "m"
train-data = "pipe:touch owned"
[arms.a]
[evaluate]
zeroshot = { s = "s" }
"""


@pytest.fixture
def ran(monkeypatch) -> list[spec.Study]:
    """The studies that would have been run."""
    found: list[spec.Study] = []
    monkeypatch.setattr(command, "run_study", lambda study, out, **_: bool(found.append(study)))
    return found


def test_a_file_from_elsewhere_shows_its_commands_and_needs_trust(tmp_path, capsys, ran):
    (tmp_path / "s.toml").write_text(EVIL)
    words = ["study", str(tmp_path / "s.toml"), "--out", str(tmp_path / "o")]
    assert cli.main(words) == 2
    said = capsys.readouterr()
    assert rf"$ python -c 'print(1)\r\x1b[2K' {tmp_path}/o" in said.out.splitlines()  # nothing hides behind escapes
    assert "$ pipe:touch owned" in said.out.splitlines()
    assert "pass --trust" in said.err
    assert len(said.err.splitlines()) == 1
    assert not ran
    assert not (tmp_path / "o").exists()
    assert cli.main([*words, "--trust"]) == 0
    assert cli.main(words) == 0  # trusted before
    assert len(ran) == 2
    assert cli.main([*words[:-1], str(tmp_path / "other")]) == 2  # for that folder alone
    (tmp_path / "s.toml").write_text(EVIL + "# changed")
    assert cli.main(words) == 2


def test_a_changed_base_is_asked_for_again(tmp_path, ran):
    (tmp_path / "below.toml").write_text(EVIL)
    (tmp_path / "s.toml").write_text('base = "below.toml"\n')
    words = ["study", str(tmp_path / "s.toml"), "--out", str(tmp_path / "o")]
    assert cli.main([*words, "--trust"]) == 0
    assert cli.main(words) == 0
    (tmp_path / "below.toml").write_text(EVIL.replace("print(1)", "print(2)"))
    assert cli.main(words) == 2


def test_what_comes_with_the_package_needs_no_word_and_a_copy_does(tmp_path, capsys, ran):
    words = ["study", "first-experiments", "--out", str(tmp_path / "o")]
    assert cli.main(words) == 0
    assert cli.main([*words, "--base", "own-data", "--set", "shards=x"]) == 0
    (tmp_path / "mine.toml").write_text(Path(spec.locate("own-data")).read_text())
    assert cli.main([*words, "--base", str(tmp_path / "mine.toml")]) == 2
    assert "pass --trust" in capsys.readouterr().err
    assert len(ran) == 2


def test_a_damaged_note_of_trust_is_none(tmp_path, ran):
    (tmp_path / "s.toml").write_text(EVIL)
    (tmp_path / "o").mkdir()
    words = ["study", str(tmp_path / "s.toml"), "--out", str(tmp_path / "o")]
    for damage in ("[" * 100_000, "3", "[3]", ""):
        (tmp_path / "o" / "trusted.json").write_text(damage)
        assert cli.main(words) == 2


def test_sources_are_the_file_and_all_that_it_stands_on(tmp_path):
    (tmp_path / "s.toml").write_text('base = "demo"\n')
    assert [path.name for path in sources(tmp_path / "s.toml")] == ["s.toml", "demo.toml", "emoji.toml"]
