"""An empty word where a path is meant, from an unset variable say, must not mean the current folder; nor a URL one."""

import pytest

from sclip_plugin import cli


@pytest.mark.parametrize(
    "words",
    [
        ["study", "demo", "--out", ""],
        ["demo", "--out", ""],
        ["demo", "--unpack", ""],
        ["eval", "--model", "m", "--json", ""],
        ["eval", "--model", "m", "--ranks", " "],
        ["inspect", "--model", "m", "--train-data", "t", "--unpaired-data", "u", "--out", ""],
        ["checkup", "shards", "--model", "m", "--out", ""],
        ["wiseft", "--model", "m", "--tuned", "t", "--json", ""],
        ["wiseft", "--model", "m", "--tuned", "t", "--out", "a\0b"],
    ],
    ids=lambda words: " ".join(words[:1] + words[-2:-1]),
)
def test_an_empty_path_is_refused(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        cli.main(words)
    assert "must name a file or folder, got" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [["study", "demo", "--out", "s3://b/x"], ["verify", "shards", "--sheet", "s3://b/x.png"]],
    ids=lambda words: words[0],
)
def test_a_url_is_no_folder_of_that_name(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        cli.main(words)
    assert "must name a file or folder of this machine, got 's3://b/x" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
